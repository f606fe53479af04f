"""Everything that a dataset of rows becomes: its rows, the files beside them that are still named, and recordings that were made."""

from pathlib import Path

from trainer.data.audio import Unusable
from trainer.errors import InvalidData
from trainer.prepare.frame import Frame
from trainer.prepare.reading import RowSource
from trainer.prepare.sounds import Sounds, audio_column, name_in
from trainer.prepare.spooling import Tick
from trainer.prepare.writing import check_names, copy_beside, sizes_of, still_named, write_frame
from trainer.prepare.writing_documents import all_names, write_documents


def check_rows(source: RowSource, frame: Frame) -> dict[str, Path]:
    """What lies beside the rows and comes along. InvalidData when a file cannot be called as it would be, or two were called the same."""
    others = still_named(source.frame, frame, source.beside)
    if source.documents is not None:
        own = all_names(sizes_of(frame), source.suffix, source.documents)
    else:
        own = [f"{source.stem if split == 'all' else split}{source.suffix}" for split in sizes_of(frame)]
    check_names([*others, *own])
    others = {name: path for name, path in others.items() if name not in own}
    return others


def write_rows(source: RowSource, frame: Frame, others: dict[str, Path], folder: Path, tick: Tick) -> dict[str, int]:
    """Rows per split."""
    copy_beside(others, folder, tick)
    if source.sounds is not None:
        _write_recordings(source.sounds, frame, folder, tick)
    if source.documents is not None:
        return write_documents(frame, source.suffix, folder, source.documents)
    return write_frame(frame, source.suffix, folder, stem=source.stem)


def _write_recordings(sounds: Sounds, frame: Frame, folder: Path, tick: Tick) -> None:
    """The copies that rows still name. InvalidData names those that cannot be made."""
    column = audio_column(frame) if sounds.made else None
    names = {_name(cell) for cell in frame.cells(column)} & sounds.made.keys() if column is not None else set()
    check_names(sorted(names))
    problems = []
    for name in sorted(names):
        tick()
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.write_bytes(sounds.changed(sounds.made[name]))
        except Unusable as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise InvalidData(problems)


def _name(cell: object) -> str:
    try:
        return name_in(cell)
    except Unusable:
        return ""
