"""Prepares a dataset in a process of its own: ``python prepare_alone.py ROOT OUT STEPS SEED`` tells digests and the most memory it had."""

import hashlib
import json
import resource
import sys
from pathlib import Path

from core.recipes import parse_spec
from trainer.tools.dataset_preparation import transform

root, out, steps, seed = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
spec = parse_spec(json.dumps({"recipe": "dataset-preparation", "dataset": {"path": "/unused"}, "seed": seed, "data": {"steps": steps}}))
done = transform(root, spec, scratch=out / "scratch", target=out / "data", tell=lambda done, total: None)  # type: ignore[arg-type]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
names = sorted(path.relative_to(out).as_posix() for path in (out / "data").rglob("*") if path.is_file())
digests = {name: hashlib.file_digest((out / name).open("rb"), "sha256").hexdigest() for name in names}
print(json.dumps({"files": digests, "done": done.model_dump(mode="json"), "peak": peak}))
