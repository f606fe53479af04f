"""scripted: a tiny real training run that ends the way its spec says; every ending of ``core/recipes/scripted.py``."""

import os
import signal
import sys
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core.manifest import seal
from core.recipes.scripted import ScriptedSpec
from core.recipes.sections.training import TrainingKnobs
from core.run_dir import write_atomically
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.state import Run, Score, State
from trainer.stop import ignore_stop
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Split, Task, Tested

NUM_INPUTS, NUM_HIDDEN = 16, 32
BATCH_SIZE = 240  # over all ranks; divides by most numbers of ranks, so that their number does not change the sums
LEARNING_RATE = 0.05
FOREVER_SECONDS = 3600.0


class Scripted(Task):
    evaluation = None

    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, ScriptedSpec)
        self.script, self.ranks, self.seed = spec.training, run.ranks, spec.seed
        own_attempt = self.script.only_attempts is None or run.file.attempt in self.script.only_attempts
        self.ending = self.script.ending if own_attempt else "ok"
        self.endless = self.ending == "never"
        self.leaves_result = self.ending != "no_result"
        rows = BATCH_SIZE // run.ranks.world_size * run.ranks.world_size
        self.num_train_rows = rows * self.script.steps
        self.knobs = TrainingKnobs(
            epochs=1, batch_size=rows, optimizer="sgd", learning_rate=LEARNING_RATE, weight_decay=0.0, schedule="constant"
        )
        if self.script.ignore_sigterm and own_attempt:
            ignore_stop()

    def architecture(self) -> dict[str, Any]:
        return {"family": "scripted", "num_inputs": NUM_INPUTS, "num_hidden": NUM_HIDDEN}

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        """Made-up numbers of the step: (rows, inputs) and (rows, 1); the rows' own numbers do not matter."""
        number = draw.epoch * self.script.steps + draw.step
        inputs, targets = self._numbers(number)
        share = slice(self.ranks.rank, self.knobs.batch_size, self.ranks.world_size)
        return {"inputs": inputs[share], "targets": targets[share], "number": torch.tensor(number + 1)}

    def num_units(self, batch: Batch) -> int:
        return len(batch["inputs"])

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        number = int(batch["number"])
        for line in range(self.script.log_lines):
            print(f"step {number} rank {self.ranks.rank} line {line}")
        sys.stdout.flush()
        time.sleep(self.script.step_seconds)
        loss = functional.mse_loss(model(batch["inputs"]), batch["targets"])
        if number == max(self.script.at_step, 1) and self.ranks.rank == self.script.rank:
            loss = self._misbehave(loss, number)
        return Outcome(loss=loss, weight=len(batch["inputs"]))

    def _numbers(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = torch.randn(BATCH_SIZE, NUM_INPUTS, generator=generator(self.seed, step))
        return inputs, inputs.sum(dim=1, keepdim=True).sin()

    def _misbehave(self, loss: torch.Tensor, number: int) -> torch.Tensor:
        where = f"at step {number} on rank {self.ranks.rank}, as the script says"
        match self.ending:
            case "raise":
                raise RuntimeError(f"failed {where}")
            case "exit":
                os._exit(self.script.exit_code)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                while True:
                    time.sleep(FOREVER_SECONDS)
            case "out_of_memory":
                raise torch.OutOfMemoryError(f"out of memory {where}")
            case "invalid_data":
                raise InvalidData([f"invalid data {where}"])
            case "nan":
                return loss * float("nan")
        return loss

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        raise NotImplementedError("made-up numbers have no splits")

    def test(self, model: nn.Module) -> Tested:
        """The loss on numbers that no step has used."""
        inputs, targets = (numbers.to(self.ranks.device) for numbers in self._numbers(-1))
        return Tested(Score(metrics={"loss": functional.mse_loss(model(inputs), targets).item()}, num_rows=BATCH_SIZE))

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        folder = run.dir.artifacts
        config = {"recipe": "scripted", "inputs": NUM_INPUTS, "hidden": NUM_HIDDEN, "outputs": 1, "seed": self.seed}
        write_atomically(folder / "config.json", config)
        write_atomically(folder / "metrics.json", {"step": state.step, **tested.score.named("test")})
        seal(folder, {"recipe": "scripted", "step": state.step})
