"""A folder that ``from_pretrained`` of the Transformers library loads: of its own models, and of ours that are one of them exactly."""

import importlib
from typing import Any

import torch
from torch import nn

from trainer.data.text.tokenizers import FILE, Tokenizer
from trainer.errors import InvalidData
from trainer.tools.exports.trial import Trial


def export_transformers(trial: Trial) -> None:
    """config.json, model.safetensors and the tokenizer's files. InvalidData for a model that the library does not have."""
    hf: Any = importlib.import_module("trainer.models.hf")  # the library takes seconds to import
    config, predictor = trial.predictor.config, trial.predictor
    family = config.get("architecture", {}).get("family", "transformers")
    if family == "transformers":
        model = predictor.model
    elif family == "gpt":
        model = as_gpt2(hf, predictor.model, config["architecture"])
    else:
        raise InvalidData([f"a model of family {family} is none of the Transformers library; formats torch and onnx are for it"])
    ours = {name: value for name, value in config.items() if name != "architecture"}
    path = predictor.folder / FILE
    hf.save_hf(model, trial.folder, Tokenizer.load(path) if path.is_file() else None, ours)
    loaded = hf.CLASSES[model.task].from_pretrained(trial.folder, local_files_only=True, use_safetensors=True, trust_remote_code=False)
    read = hf.TransformersModel(model.task, loaded.float()).eval()
    trial.facts["class"] = type(loaded).__name__

    def ask(batch: dict[str, torch.Tensor]) -> Any:
        with torch.no_grad():
            return read(*batch.values())

    trial.compare(ask)


def as_gpt2(hf: Any, model: nn.Module, architecture: dict[str, Any]) -> Any:
    """The library's GPT-2 with the same weights: it has biases where ours may have none, which are 0 then, and keeps query, key
    and value of all heads apart, where ours has them side by side in each head.
    """
    width, heads, layers = architecture["width"], architecture["num_heads"], architecture["num_layers"]
    sizes = {"vocab_size": architecture["vocabulary"], "n_positions": architecture["context"], "n_embd": width, "n_layer": layers}
    more = {
        "n_head": heads,
        "activation_function": "gelu",
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }
    theirs = hf.build_hf("causal-lm", {"model_type": "gpt2", **sizes, **more}).eval()
    own, found = model.state_dict(), theirs.state_dict()
    named = {"model.transformer.wte.weight": "tokens.weight", "model.transformer.wpe.weight": "positions.weight"}
    named |= {"model.transformer.ln_f.weight": "norm.weight", "model.transformer.ln_f.bias": "norm.bias"}
    for layer in range(layers):
        parts = {"ln_1": "norm1", "ln_2": "norm2", "attn.c_attn": "attention.qkv", "attn.c_proj": "attention.out"}
        parts |= {"mlp.c_fc": "feed_forward.up", "mlp.c_proj": "feed_forward.down"}
        for part, ours in parts.items():
            named |= {f"model.transformer.h.{layer}.{part}.{kind}": f"blocks.{layer}.{ours}.{kind}" for kind in ("weight", "bias")}
    for name, tensor in found.items():
        tensor.copy_(_arranged(own[named[name]], named[name], heads) if named[name] in own else torch.zeros_like(tensor))
    theirs.load_state_dict(found)
    return theirs


def _arranged(tensor: torch.Tensor, name: str, heads: int) -> torch.Tensor:
    """As the library keeps it: its layers multiply from the right."""
    if ".qkv." in name:
        tensor = tensor.view(heads, 3, -1, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)
    return tensor.T if tensor.dim() == 2 and name.startswith("blocks.") else tensor
