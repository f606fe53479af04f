"""Runs a function on real ranks under a real torchrun, for tests of what ranks do together. Also the script of such a rank.

``on_ranks("tests.trainer.programs.gathering:texts", num_ranks=2, key=value)`` calls ``texts(ranks, key=value)`` on each rank
and answers what they returned, rank after rank, through JSON.
"""

import importlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.trainer.launching import Launch


@dataclass
class OnRanks:
    """What a test calls; each call is a torchrun of its own."""

    launch: "Launch"

    def __call__(self, program: str, *, num_ranks: int = 2, tensor_parallel: int = 1, cold: bool = False, **arguments: Any) -> list[Any]:
        attempt = self.launch({"recipe": "scripted"}, num_ranks=num_ranks, cold=cold)
        root = attempt.run_dir.root
        request = {"program": program, "tensor_parallel": tensor_parallel, "arguments": arguments}
        (root / "request.json").write_text(json.dumps(request))
        attempt.plan = replace(attempt.plan, argv=(*attempt.plan.argv[:-2], __file__, str(root)))
        attempt.run()
        assert attempt.code == 0, attempt.logs()
        return [json.loads((root / f"answer-{rank}.json").read_text()) for rank in range(num_ranks)]


def be_a_rank(root: Path) -> None:
    """Joins, calls the program, writes what it returned, leaves as a rank of a job does."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    parallel = importlib.import_module("trainer.parallel")
    importlib.import_module("torch").set_num_threads(1)
    request = json.loads((root / "request.json").read_text())
    module, _, name = request["program"].partition(":")
    ranks = parallel.join_ranks("cpu", tensor_parallel=request["tensor_parallel"])
    answer = getattr(importlib.import_module(module), name)(ranks, **request["arguments"])
    (root / f"answer-{ranks.rank}.json").write_text(json.dumps(answer))
    ranks.sum([0.0])
    parallel.leave(0)


if __name__ == "__main__":
    be_a_rank(Path(sys.argv[1]))
