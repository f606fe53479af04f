"""Models of the Transformers library, built from a config or read from a folder that was uploaded. No hub, no code but the library's.

Loaded by name: importing the library takes seconds.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForCTC,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from trainer.data.text.tokenizers import Tokenizer
from trainer.errors import InvalidData

CLASSES: dict[str, Any] = {
    "sequence-classification": AutoModelForSequenceClassification,
    "token-classification": AutoModelForTokenClassification,
    "causal-lm": AutoModelForCausalLM,
    "ctc": AutoModelForCTC,
}
# What a config may say of where its code or its weights are, or of how they are packed; none of it is followed.
NOT_TAKEN = (
    "auto_map",
    "quantization_config",
    "_name_or_path",
    "architectures",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "trainyard",
)
LINEAR = (nn.Linear, Conv1D)
PREFIX = "model."

logging.disable_progress_bar()  # type: ignore[no-untyped-call]
logging.set_verbosity_error()  # type: ignore[no-untyped-call]


class TransformersModel(nn.Module):
    """What a recipe trains: the model's main input (token numbers (N, L), or sound (N, L)) to its logits.

    ``mask`` (N, L) is true on what counts and false on padding; ``types`` (N, L) tells the texts of a pair apart. In a state
    dict, weights that are tied stand once.
    """

    def __init__(self, task: str, model: PreTrainedModel) -> None:
        super().__init__()
        self.task, self.model = task, model
        self.register_state_dict_post_hook(_leave_out_tied)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_put_in_tied)  # type: ignore[no-untyped-call]

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None, types: torch.Tensor | None = None) -> torch.Tensor:
        more: dict[str, Any] = {}
        if mask is not None:
            more["attention_mask"] = mask.long()
        if types is not None:
            more["token_type_ids"] = types
        if self.task == "causal-lm":
            more["use_cache"] = False
        logits: torch.Tensor = self.model(**{self.model.main_input_name: ids}, **more).logits
        return logits

    @property
    def head_names(self) -> tuple[str, ...]:
        """Everything that stands beside the library's base model; with an output tied to the embeddings, those too."""
        own = tuple(PREFIX + name for name, _ in self.model.named_children() if name != self.model.base_model_prefix)
        return own + tuple(first for first, second in tied_names(self) if second.startswith(own))

    @property
    def head_is_pretrained(self) -> bool:
        return self.task == "causal-lm"

    @property
    def blocks(self) -> nn.ModuleList:
        """The list of equal modules that holds most of the weights."""
        lists = [m for m in self.model.modules() if isinstance(m, nn.ModuleList) and len({type(member) for member in m}) == 1]
        return max(lists, key=lambda found: sum(p.numel() for p in found.parameters()), default=nn.ModuleList())

    @property
    def lora_targets(self) -> tuple[str, ...]:
        """The linear layers of the first block's attention, by their names in it."""
        names = [
            name for name, module in next(iter(self.blocks), nn.Module()).named_modules() if isinstance(module, LINEAR) and "att" in name
        ]
        return tuple(names)

    def flops_per_token(self, length: int) -> float:
        """As for a decoder of our own; without what embeddings look up, unless they multiply as the output too."""
        table: Any = self.model.get_input_embeddings()
        num_weights = sum(parameter.numel() for parameter in self.parameters()) - (0 if tied_names(self) else table.weight.numel())
        width = int(getattr(self.model.config, "hidden_size", 0))
        return 6.0 * num_weights + 12.0 * len(self.blocks) * width * length

    def read_weights(self, folder: Path) -> dict[str, torch.Tensor]:
        """The weights of a folder of the library, under this model's names; what it has no place for, or what has another shape,
        is there without its numbers. InvalidData when there are none, or only as a pickle."""
        loaded, info = _from_folder(type(self.model), folder, self.model.config)
        missing, mismatched = set(info["missing_keys"]), {name: shape for name, shape, _ in info["mismatched_keys"]}
        wanted = self.state_dict()
        found = {name: tensor for name, tensor in _prefixed(loaded.state_dict()) if name in wanted}
        found = {name: tensor for name, tensor in found.items() if name.removeprefix(PREFIX) not in missing | mismatched.keys()}
        elsewhere = {name: (0,) for name in info["unexpected_keys"]} | mismatched
        return found | {PREFIX + name: torch.empty(shape, device="meta") for name, shape in elsewhere.items()}


def build_hf(task: str, config: dict[str, Any], **more: Any) -> TransformersModel:
    """A fresh model. ``config`` is a config.json of the library, ``more`` what the recipe sets in it (``num_labels``, ``vocab_size``).

    InvalidData when the library does not know such a model, or not for this task.
    """
    try:
        made = AutoConfig.for_model(**{name: value for name, value in config.items() if name not in NOT_TAKEN}, **more)
        return TransformersModel(task, _new(CLASSES[task], made))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidData([f"model.config makes no model for {task}: {error}"]) from error


def save_hf(model: nn.Module, folder: Path, tokenizer: Tokenizer | None, ours: dict[str, Any]) -> None:
    """Writes config.json, with ``ours`` under the key ``trainyard``, model.safetensors and the tokenizer's files, so that the
    library's ``from_pretrained`` reads the folder. ``ours`` must not have an "architecture": config.json is that itself."""
    assert isinstance(model, TransformersModel)
    inner = model.model
    inner.config.trainyard = {**ours, "task": model.task}
    inner.save_pretrained(folder, max_shard_size="1000GB")
    if tokenizer is not None:
        names = {"pad_token": tokenizer.pad_id, "unk_token": tokenizer.unk_id, "eos_token": tokenizer.end_id}
        names |= {"cls_token": tokenizer.cls_id, "sep_token": tokenizer.sep_id, "mask_token": tokenizer.mask_id}
        known = {name: tokenizer.token(number) for name, number in names.items() if number is not None}
        theirs: Any = PreTrainedTokenizerFast
        theirs(tokenizer_object=tokenizer.inner, **known).save_pretrained(folder)


def from_package(folder: Path, ours: dict[str, Any]) -> TransformersModel:
    """The model that ``save_hf`` wrote; ``ours`` is what it was given."""
    model = config_model(folder, ours)
    model.load_state_dict(model.read_weights(folder))
    return model


def config_model(folder: Path, ours: dict[str, Any]) -> TransformersModel:
    """The same with fresh weights."""
    return build_hf(ours["task"], json.loads((folder / "config.json").read_text("utf-8")))


def tied_names(model: nn.Module) -> list[tuple[str, str]]:
    """(first name, another name) of each parameter that has several."""
    first: dict[int, str] = {}
    pairs = ((first.setdefault(id(parameter), name), name) for name, parameter in model.named_parameters(remove_duplicate=False))
    return [(one, another) for one, another in pairs if one != another]


def _new(kind: Any, config: PretrainedConfig) -> PreTrainedModel:
    """With PyTorch's fused attention where the library has it for this model."""
    try:
        made: PreTrainedModel = kind.from_config(config, attn_implementation="sdpa", dtype=torch.float32, trust_remote_code=False)
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        made = kind.from_config(config, attn_implementation="eager", dtype=torch.float32, trust_remote_code=False)
    return made


def _from_folder(kind: type[PreTrainedModel], folder: Path, config: PretrainedConfig) -> tuple[PreTrainedModel, dict[str, Any]]:
    files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not any(name.endswith(".safetensors") for name in files):
        pickles = [name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5"))]
        why = f"; {pickles[0]} is a pickle, which may run code when it is read: save the model as safetensors" if pickles else ""
        raise InvalidData([f"the base model has no usable model.safetensors{why}"])
    for name in files:
        if name.endswith(".safetensors"):
            _check_readable(folder / name)
    read: Any = kind.from_pretrained
    loaded, info = read(
        folder,
        config=config,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        trust_remote_code=False,
    )
    return loaded, info


def _check_readable(path: Path) -> None:
    try:
        with safe_open(path, framework="pt"):
            pass
    except Exception as error:  # why: the library's own class is a bare one
        raise InvalidData([f"the base model has no usable {path.name}: {error}"]) from error


def _prefixed(tensors: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    return ((PREFIX + name, tensor) for name, tensor in tensors.items())


def _leave_out_tied(module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: Any) -> None:
    for _, name in tied_names(module):
        state_dict.pop(prefix + name, None)


def _put_in_tied(module: nn.Module, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
    for first, name in tied_names(module):
        if prefix + first in state_dict:
            state_dict.setdefault(prefix + name, state_dict[prefix + first])
