"""A hand-written loop that trains an image classifier: what the engine's speed is compared with. No ranks, no logs, no checkpoints.

``python bench/training/bare_image.py SETTINGS.json`` prints how many steps it did per second.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from trainer.models import build

WARM_UP = 10  # steps


def main(settings: dict[str, Any]) -> float:
    torch.manual_seed(settings["seed"])
    device = torch.device(settings["device"])
    torch.set_num_threads(1)
    images = torch.from_numpy(np.load(settings["images"])).to(device)
    labels = torch.from_numpy(np.load(settings["labels"]).astype(np.int64)).to(device)
    model = build(settings["architecture"]).to(device).train()
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": weights, "weight_decay": settings["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=settings["learning_rate"], momentum=0.9, nesterov=True, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["num_steps"])
    batch_size, num_rows = settings["batch_size"], len(images)
    order = torch.randperm(num_rows)
    started = time.perf_counter()
    for step in range(settings["num_steps"]):
        if step == WARM_UP:
            finish(device)
            started = time.perf_counter()
        first = step * batch_size % (num_rows - batch_size)
        rows = order[first : first + batch_size]
        with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
            loss = functional.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    finish(device)
    return float(settings["num_steps"] - WARM_UP) / (time.perf_counter() - started)


def finish(device: torch.device) -> None:
    """Waits for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    print(main(json.loads(Path(sys.argv[1]).read_text())))
