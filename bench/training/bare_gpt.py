"""A hand-written loop in the manner of nanoGPT: random places of a text, AdamW, a cosine, gradient clipping, and nothing else.

``python bench/training/bare_gpt.py SETTINGS.json`` prints how many steps it did per second.
"""

import json
import math
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
    tokens = np.load(settings["tokens"], mmap_mode="r")
    model = build(settings["architecture"]).to(device).train()
    forward = torch.compile(model) if settings["compile"] else model
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": settings["weight_decay"]},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=(0.9, settings["beta2"]), fused=True)
    started = time.perf_counter()
    for step in range(settings["num_steps"]):
        if step == WARM_UP:
            finish(device)
            started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = settings["learning_rate"] * 0.5 * (1 + math.cos(math.pi * step / settings["num_steps"]))
        inputs, targets = get_batch(tokens, settings["batch_size"], settings["context"], device)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
            logits = forward(inputs)
            loss = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    finish(device)
    return float(settings["num_steps"] - WARM_UP) / (time.perf_counter() - started)


def get_batch(tokens: Any, batch_size: int, context: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    places = torch.randint(len(tokens) - context, (batch_size,))
    inputs = torch.stack([torch.from_numpy(tokens[place : place + context].astype(np.int64)) for place in places])
    targets = torch.stack([torch.from_numpy(tokens[place + 1 : place + 1 + context].astype(np.int64)) for place in places])
    return inputs.to(device), targets.to(device)


def finish(device: torch.device) -> None:
    """Waits for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    print(main(json.loads(Path(sys.argv[1]).read_text())))
