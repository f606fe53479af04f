"""Makes new files from a dataset."""

import shutil
from pathlib import Path

from core.manifest import seal
from trainer.state import Run


def prepare_dataset(run: Run) -> dict[str, float]:
    """Copies every file below ``data``."""
    assert run.file.data_dir is not None
    root = Path(run.file.data_dir)
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    for path in files:
        target = run.dir.artifacts / "data" / (path.name if root.is_file() else path.relative_to(root))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    seal(run.dir.artifacts, {"recipe": run.file.spec.recipe})
    return {"num_files": float(len(files))}
