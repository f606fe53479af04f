"""Reads a dataset and leaves a profile of it."""

from pathlib import Path

from core.manifest import seal
from core.run_dir import write_atomically
from trainer.state import Run


def validate_dataset(run: Run) -> dict[str, float]:
    """A dataset is valid when it holds a file that is not empty."""
    assert run.file.data_dir is not None
    root = Path(run.file.data_dir)
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    empty = [path for path in files if path.stat().st_size == 0]
    findings = [{"file": path.name, "row": None, "column": None, "message": "the file is empty"} for path in empty]
    is_valid = bool(files) and not findings
    profile = {"valid": is_valid, "num_files": len(files), "num_findings": len(findings), "findings": findings, "warnings": []}
    write_atomically(run.dir.artifacts / "profile.json", profile)
    (run.dir.artifacts / "report.html").write_text(f"<!doctype html><title>Profile</title><p>{len(files)} files</p>\n")
    seal(run.dir.artifacts, {"recipe": run.file.spec.recipe})
    return {"valid": float(is_valid), "num_findings": float(len(findings))}
