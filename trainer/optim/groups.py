"""Which parameters an optimiser treats alike: who decays, and which are hidden matrices."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True, slots=True)
class Owned:
    """A parameter in training, its name in the model and the module that holds it."""

    parameter: nn.Parameter
    name: str
    owner: nn.Module

    @property
    def decays(self) -> bool:
        """Weights do; biases, scales of norms and whatever else has one axis do not."""
        return self.parameter.dim() > 1 and not self.name.endswith("bias") and not isinstance(self.owner, NORMS)


def owned_parameters(model: nn.Module) -> Iterator[Owned]:
    """Each parameter that requires a gradient once, in the order of ``model.parameters()``; a tied one by its first name."""
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=prefix, recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield Owned(parameter, name, module)


def hidden_matrices(model: nn.Module) -> set[nn.Parameter]:
    """Weights between hidden layers that Muon is made for: of linear layers, recurrences, attention and convolutions.

    Not embeddings nor heads (``model.head_names``, or the last linear layer of a model that names none), tied or not.
    """
    modules = list(model.modules())
    others = {p for module in modules if isinstance(module, EMBEDDINGS) for p in module.parameters()} | set(_head_parameters(model))
    return {owned.parameter for owned in owned_parameters(model) if _is_matrix(owned) and owned.parameter not in others}


def _is_matrix(owned: Owned) -> bool:
    """Tables that are not called weights (learned positions) map nothing to anything: they are no matrices in this sense."""
    is_weight = "weight" in owned.name.rpartition(".")[2]
    return is_weight and owned.decays and (owned.parameter.dim() == 2 or isinstance(owned.owner, CONVOLUTIONS))


def _head_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    names: tuple[str, ...] = getattr(model, "head_names", ())
    if not names:
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        yield from (p for module in linear[-1:] for p in module.parameters())
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if any(name == head or name.startswith(head.rstrip(".") + ".") for head in names):
            yield parameter
