"""Token ids of many rows on disk, mapped into memory, and batches of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

Rows = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int32]
ROUNDED_TO = 8  # lengths of batches: fewer shapes for kernels to be chosen for, and tensor cores like it


class TokenIds:
    """Rows of different lengths: ``ids.npy`` (all of them, one after the other, int32) and ``offsets.npy`` (where each begins and the end).

    ``types.npy``, where it is, tells the first text of a pair from the second.
    """

    def __init__(self, folder: Path) -> None:
        self.offsets: Rows = np.load(folder / "offsets.npy")
        self.ids: Ids = np.load(folder / "ids.npy", mmap_mode="r")
        self.types: Ids | None = np.load(folder / "types.npy", mmap_mode="r") if (folder / "types.npy").exists() else None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> Rows:
        return np.diff(self.offsets)

    def row(self, row: int) -> Ids:
        found: Ids = self.ids[self.offsets[row] : self.offsets[row + 1]]
        return found

    def batch(self, rows: Rows, *, pad_id: int, longest: int) -> dict[str, torch.Tensor]:
        """``ids`` (N, L) int64, ``mask`` (N, L) bool and, of pairs, ``types``: L is the longest row's, rounded up, ``longest`` at most."""
        batch = pad([self.row(row) for row in rows.tolist()], pad_id=pad_id, longest=longest)
        if self.types is not None:
            types = [self.types[self.offsets[row] : self.offsets[row + 1]] for row in rows.tolist()]
            batch["types"] = pad(types, pad_id=0, longest=longest)["ids"]
        return batch


def write_ids(folder: Path, rows: Iterable[Sequence[int]], types: Iterable[Sequence[int]] | None = None) -> None:
    arrays = [np.asarray(row, dtype=np.int32) for row in rows]
    np.save(folder / "ids.npy", np.concatenate(arrays))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, arrays)], dtype=np.int64))
    if types is not None:
        np.save(folder / "types.npy", np.concatenate([np.asarray(row, dtype=np.int32) for row in types]))


def pad(rows: Sequence[npt.NDArray[np.int32]] | Sequence[Sequence[int]], *, pad_id: int, longest: int) -> dict[str, torch.Tensor]:
    """``ids`` (N, L) and ``mask`` (N, L), true on tokens and false on the padding behind them."""
    lengths = np.array([len(row) for row in rows])
    length = max(int(lengths.max()), min(-(-int(lengths.max()) // ROUNDED_TO) * ROUNDED_TO, longest))
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    mask = np.arange(length) < lengths[:, None]
    ids[mask] = np.concatenate([np.asarray(row) for row in rows])
    return {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask)}
