"""Models of the Transformers library: from a config, from an uploaded folder, and back into one that the library reads."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.recipes.sections.fine_tuning import FineTuning
from core.states import Reason
from tests.trainer.launching import Launch
from tests.trainer.test_causal_lm import LINES, TINY
from trainer.data.text.vocabularies import train_tokenizer
from trainer.errors import InvalidData
from trainer.fine_tuning import freeze, load, merge, start_from
from trainer.models import build
from trainer.models.hf import build_hf, from_package, save_hf
from trainer.tensor_files import read_tensors, write_tensors

GPT2: dict[str, Any] = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 300, "n_positions": 32}
LLAMA: dict[str, Any] = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 32, "vocab_size": 300, "max_position_embeddings": 32,
}  # fmt: skip
BERT: dict[str, Any] = {
    "model_type": "bert", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50,
    "max_position_embeddings": 16,
}  # fmt: skip


def tokens() -> torch.Tensor:
    return torch.randint(50, (2, 8), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", [GPT2, LLAMA])
def test_a_decoder_gives_logits_and_says_what_it_is_made_of(config: dict[str, Any]) -> None:
    model: Any = build({"family": "transformers", "task": "causal-lm", "config": config}).eval()
    assert model(tokens()).shape == (2, 8, 300)
    assert len(model.blocks) == 2
    assert model.head_is_pretrained
    freeze(model, FineTuning(train="lora"))
    adapted = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert adapted
    assert all("lora_" in name and "att" in name for name in adapted)


def test_padding_has_no_say() -> None:
    model = build_hf("token-classification", BERT, num_labels=3).eval()
    ids, mask = tokens(), torch.ones(2, 8, dtype=torch.bool)
    mask[:, 6:] = False
    other = ids.clone()
    other[:, 6:] = 1
    torch.testing.assert_close(model(ids, mask)[:, :6], model(other, mask)[:, :6])
    assert model.head_names == ("model.dropout", "model.classifier")


@pytest.mark.parametrize("config", [{"model_type": "no-such-thing"}, {**BERT, "hidden_size": 15}, {"model_type": "wav2vec2"}])
def test_a_config_that_makes_no_model_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidData, match="makes no model for causal-lm"):
        build_hf("causal-lm", config)


def test_tied_weights_stand_once_and_come_back(tmp_path: Path) -> None:
    model, another = build_hf("causal-lm", GPT2), build_hf("causal-lm", GPT2)
    assert "model.lm_head.weight" not in model.state_dict()
    write_tensors(tmp_path / "weights.safetensors", model.state_dict())
    another.load_state_dict(read_tensors(tmp_path / "weights.safetensors"))
    assert torch.equal(another.eval()(tokens()), model.eval()(tokens()))


@pytest.mark.parametrize("config", [GPT2, LLAMA])
def test_what_is_written_is_read_by_the_library_and_by_us(tmp_path: Path, config: dict[str, Any]) -> None:
    model = build_hf("causal-lm", config).eval()
    tokenizer = train_tokenizer("bpe", [LINES], 300, framing="generation")
    save_hf(model, tmp_path, tokenizer, {"format": 2, "recipe": "causal-language-modeling"})
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(theirs(tokens()).logits, model(tokens()))
    assert AutoTokenizer.from_pretrained(tmp_path)("the cat")["input_ids"] == tokenizer.encode("the cat")
    ours = json.loads((tmp_path / "config.json").read_text())["trainyard"]
    torch.testing.assert_close(from_package(tmp_path, ours).eval()(tokens()), model(tokens()))


def test_the_body_of_an_uploaded_model_starts_one_with_another_head(tmp_path: Path) -> None:
    base = build_hf("sequence-classification", BERT, num_labels=2)
    save_hf(base, tmp_path, None, {})
    model = build_hf("token-classification", BERT, num_labels=3)
    taken = start_from(model, tmp_path, None)
    assert torch.equal(
        model.state_dict()["model.bert.embeddings.word_embeddings.weight"],
        base.state_dict()["model.bert.embeddings.word_embeddings.weight"],
    )
    assert "model.classifier.weight is (2, 16), not (3, 16)" in taken.differences
    assert "model.bert.pooler.dense.weight has no place in the new model" in taken.differences


def test_another_model_is_refused(tmp_path: Path) -> None:
    save_hf(build_hf("causal-lm", GPT2), tmp_path, None, {})
    with pytest.raises(InvalidData, match="another architecture"):
        load(build_hf("causal-lm", {**GPT2, "n_embd": 32}), tmp_path)


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InvalidData, match=r"pytorch_model\.bin is a pickle, which may run code"):
        load(build_hf("causal-lm", GPT2), tmp_path)


def test_broken_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidData, match=r"no usable model\.safetensors"):
        load(build_hf("causal-lm", GPT2), tmp_path)


@pytest.mark.parametrize("config", [GPT2, LLAMA])
def test_adapters_merge_into_plain_weights(config: dict[str, Any]) -> None:
    """GPT-2's linear layers keep their matrices transposed."""
    lora = FineTuning(train="lora", lora_rank=2)
    model = build_hf("causal-lm", config).eval()
    names = model.state_dict().keys()
    freeze(model, lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    before = model(tokens())
    merge(model, lora)
    assert model.state_dict().keys() == names
    torch.testing.assert_close(model(tokens()), before, rtol=1e-4, atol=1e-4)


def test_an_uploaded_decoder_is_fine_tuned_by_adapters_on_two_ranks(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(LINES)
    launch.data_dir, base = tmp_path / "text.txt", tmp_path / "base"
    base.mkdir()
    tokenizer = train_tokenizer("bpe", [LINES], 300, framing="generation")
    save_hf(build_hf("causal-lm", {**GPT2, "vocab_size": tokenizer.vocab_size}), base, tokenizer, {})
    spec = {
        **TINY,
        "base_model": {"path": "/base"},
        "model": {"family": "transformers"},
        "fine_tuning": {"train": "lora", "lora_rank": 2},
        "training": {**TINY["training"], "max_steps": 3},
    }
    attempt = launch(spec, base_model_dir=base).run()
    attempt.expect(Reason.COMPLETED)
    theirs = AutoModelForCausalLM.from_pretrained(attempt.run_dir.artifacts)
    weights, before = theirs.state_dict(), read_tensors(base / "model.safetensors")
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, weights[name])}
    assert changed == {f"transformer.h.{layer}.attn.{part}.weight" for layer in range(2) for part in ("c_attn", "c_proj")}
