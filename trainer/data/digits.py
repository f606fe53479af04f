"""Converts scikit-learn's handwritten digits into a dataset folder: ``python -m trainer.data.digits OUT_DIR``, once per node.

1,797 grey 8x8 images with values 0 to 16, 10 classes (UCI ML repository, Alpaydin & Kaynak 1998). The only importer of scikit-learn.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import sklearn
from sklearn.datasets import load_digits

from core.manifest import ManifestError, fsync, seal, verify


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes scikit-learn's digits as a dataset folder.")
    parser.add_argument("out_dir", type=Path)
    out_dir: Path = parser.parse_args().out_dir
    print(f"{out_dir}: {'already there' if is_sound(out_dir) else convert(out_dir)}")


def is_sound(folder: Path) -> bool:
    try:
        verify(folder)
    except ManifestError:
        return False
    return True


def convert(out_dir: Path) -> str:
    """Builds the folder beside its place and moves it there whole; of several at once, one wins and the others accept its result."""
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    try:
        write_digits(part)
        if out_dir.exists() and not is_sound(out_dir):
            out_dir.rename(part / "damaged")
        part.rename(out_dir)
    except OSError:
        if not is_sound(out_dir):
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(out_dir / "damaged", ignore_errors=True)
    fsync(out_dir.parent)
    return "written"


def write_digits(folder: Path) -> None:
    digits = load_digits()
    np.save(folder / "images.npy", digits.images.astype(np.uint8))
    np.save(folder / "labels.npy", digits.target.astype(np.int64))
    (folder / "classes.json").write_text(json.dumps([str(name) for name in digits.target_names]))
    seal(folder, {"dataset": "digits", "scikit_learn": sklearn.__version__})


if __name__ == "__main__":
    main()
