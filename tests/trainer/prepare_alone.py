"""Prepares a dataset in a process of its own: ``python prepare_alone.py ROOT OUT STEPS SEED`` tells digests and the most memory it had."""

import hashlib
import json
import re
import sys
from pathlib import Path

from core.recipes import parse_spec
from trainer.tools.dataset_preparation import transform


def peak() -> int:
    """Bytes. Not ``ru_maxrss``, which begins with the memory of whoever started this process."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) << 10


root, out, steps, seed = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
spec = parse_spec(json.dumps({"recipe": "dataset-preparation", "dataset": {"path": "/unused"}, "seed": seed, "data": {"steps": steps}}))
before = peak()
done = transform(root, spec, scratch=out / "scratch", target=out / "data", tell=lambda done, total: None)  # type: ignore[arg-type]
after = peak()
names = sorted(path.relative_to(out).as_posix() for path in (out / "data").rglob("*") if path.is_file())
digests = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}
print(json.dumps({"files": digests, "done": done.model_dump(mode="json"), "before": before, "peak": after}))
