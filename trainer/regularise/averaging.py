"""Averages of the weights over training, which are evaluated and kept in place of the last weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from trainer.shards import laid_out_like, own_part, own_parts

Tensors = dict[str, torch.Tensor]
Slot = tuple[Mapping[str, torch.Tensor | None], str]


class WeightAverage:
    """Of every floating entry of the model's state dict, batch-norm statistics included; other entries are left alone.

    With ``ema`` the exponential moving average of that decay since the first step; with ``swa_share`` the plain mean over that
    last share of the steps (stochastic weight averaging: Izmailov et al. 2018, arXiv:1803.05407). ``tensors`` and
    ``num_updates`` are all of its memory; both start empty.
    """

    def __init__(self, model: nn.Module, *, ema: float | None = None, swa_share: float | None = None) -> None:
        if (ema is None) == (swa_share is None):
            raise ValueError("an average is either moving (ema) or plain (swa_share)")
        self.ema, self.swa_share = ema, swa_share
        self.tensors: Tensors = {}
        self.num_updates = 0
        self._is_settled = True
        self._model, self._slots = model, averaged_slots(model)

    @property
    def is_started(self) -> bool:
        return self.num_updates > 0

    def load(self, tensors: Tensors, num_updates: int) -> None:
        """What a checkpoint kept of ``tensors`` and ``num_updates``. Any device and layout will do: the next use moves them."""
        self.tensors, self.num_updates, self._is_settled = dict(tensors), num_updates, False

    @torch.no_grad()
    def update(self, model: nn.Module, *, step: int, num_steps: int | None) -> None:
        """Takes in the weights after the optimiser step of this number, counted from 0. ``num_steps`` None: nobody knows the end."""
        if self.swa_share is not None and (num_steps is None or step < num_steps - max(round(self.swa_share * num_steps), 1)):
            return
        live = self._live(model)
        if self.is_started:
            self._settle(live)
            torch._foreach_lerp_(own_parts(list(self.tensors.values())), own_parts(list(live.values())), self.share_of_new())
        else:
            self.tensors = {name: tensor.clone() for name, tensor in live.items()}
        self.num_updates += 1

    def share_of_new(self) -> float:
        """How much of the next average the next weights are. A moving one starts quickly: its decay is (1 + n) / (10 + n) at first."""
        if self.ema is None:
            return 1.0 / (self.num_updates + 1)
        return 1.0 - min(self.ema, (1 + self.num_updates) / (10 + self.num_updates))

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Within it ``model`` has the averaged weights; afterwards its own again, bit for bit. Nothing may train it meanwhile."""
        with torch.no_grad():
            live = self._live(model)
            self._settle(live)
            own = {name: tensor.clone() for name, tensor in live.items()}
            _write(live, self.tensors)
        try:
            yield
        finally:
            _write(live, own)

    def _live(self, model: nn.Module) -> Tensors:
        """The model's tensors as they are now: looked up, for modules may have replaced one."""
        if model is not self._model:
            self._model, self._slots = model, averaged_slots(model)
        return {name: tensor for name, (mapping, key) in self._slots.items() if (tensor := mapping[key]) is not None}

    def _settle(self, live: Tensors) -> None:
        """Gives tensors that were loaded the device and layout of the model's, and their order."""
        if not self._is_settled:
            self.tensors = {name: laid_out_like(self.tensors[name], tensor) for name, tensor in live.items()}
            self._is_settled = True


def averaged_slots(model: nn.Module) -> dict[str, Slot]:
    """Where the modules of ``model`` hold the floating entries of its state dict. ``state_dict()`` itself takes four times as long
    as an average of a small model, and this is asked for in every step."""
    slots: dict[str, Slot] = {}
    for name, entry in model.state_dict().items():
        if isinstance(entry, torch.Tensor) and entry.is_floating_point():
            path, _, key = name.rpartition(".")
            module = model.get_submodule(path)
            slots[name] = (module._parameters if key in module._parameters else module._buffers, key)
    return slots


@torch.no_grad()
def _write(targets: Tensors, values: Tensors) -> None:
    for name, target in targets.items():
        own_part(target).copy_(own_part(values[name]))
