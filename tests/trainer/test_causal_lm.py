"""causal-language-modeling: what becomes of texts, chats and completions, and whole attempts on them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.recipes.causal_language_modeling import Data
from core.states import Reason
from tests.trainer.launching import Attempt, Launch, WarmParent
from trainer.data.corpus import SPLITS, Corpus, Turn, read_corpus
from trainer.data.findings import Findings
from trainer.data.text.tokenizers import Tokenizer
from trainer.data.text.vocabularies import train_tokenizer
from trainer.data.token_files import TokenSplit, encode_plain, write_tokens
from trainer.errors import InvalidData
from trainer.models import build
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config
from trainer.tasks.task import IGNORED
from trainer.tensor_files import read_tensors

LINES = "".join(
    f"the {animal} sees {number} {thing}s.\n" for number in range(40) for animal in ("cat", "dog") for thing in ("tree", "house")
)
TINY: dict[str, Any] = {
    "recipe": "causal-language-modeling",
    "dataset": {"path": "/data"},
    "data": {"tokenizer": "char", "context_length": 16},
    "model": {"num_layers": 1, "num_heads": 2, "width": 16, "dropout": 0.1},
    "training": {"epochs": 1, "max_steps": 16, "batch_size": 8, "learning_rate": 0.01, "warmup_steps": 2},
    "evaluation": {"every_steps": 8, "sample_tokens": 8},
    "checkpoints": {"every_steps": 5},
    "resources": {"devices_per_node": 2, "accelerator": "cpu"},
    "deterministic": True,
}
CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": f"say {word}"}, {"role": "assistant", "content": word * (1 + number % 3)}]}
    for number in range(12)
    for word in ("aa", "bb", "cc")
]


def read(root: Path, **knobs: Any) -> tuple[Corpus, Findings]:
    findings = Findings()
    return read_corpus(root, Data(**knobs), seed=0, findings=findings), findings


def write_lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def split_of(folder: Path, corpus: Corpus, tokenizer: Tokenizer, context: int, split: str = "train") -> TokenSplit:
    folder.mkdir(exist_ok=True)
    write_tokens(folder, corpus, tokenizer, context=context, findings=Findings())
    return TokenSplit(folder, split, vocab_size=tokenizer.vocab_size, context=context)


def spell(tokenizer: Tokenizer, ids: torch.Tensor) -> str:
    return tokenizer.decode([int(number) for number in ids if number != IGNORED], skip_special=False)


def test_a_text_is_cut_in_order_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LINES)
    corpus, _ = read(tmp_path, validation_fraction=0.1, test_fraction=0.2)
    train, validation, test = ("".join(corpus.texts(split)) for split in SPLITS)
    assert train + validation + test == LINES
    assert len(validation) == round(0.1 * len(LINES))
    assert len(test) == round(0.2 * len(LINES))
    assert not any(turn.ends for record in corpus.records["train"] for turn in record), "one file has no end between files"


def test_files_named_after_splits_are_those(tmp_path: Path) -> None:
    for name in ("train-1", "train-2", "valid"):
        (tmp_path / f"{name}.txt").write_text(f"I am {name}.")
    corpus, _ = read(tmp_path)
    assert corpus.texts("train") == ["I am train-1.", "I am train-2."]
    assert corpus.texts("validation") == ["I am valid."]
    assert all(turn.ends for record in corpus.records["train"] for turn in record)


def test_what_is_no_chat_is_named_with_its_place(tmp_path: Path) -> None:
    wrong = [[], [{"role": "user", "content": "hi"}], [{"role": "robot", "content": "hi"}], [{"role": "assistant", "content": ""}]]
    path = write_lines(tmp_path / "chat.jsonl", [*CHATS, *({"messages": messages} for messages in wrong)])
    _, findings = read(path)
    with pytest.raises(InvalidData) as caught:
        findings.settle("fail")
    told = "\n".join(caught.value.problems)
    for number, problem in enumerate(
        ["not a list of messages", "the assistant says nothing", "the role 'robot'", "no text as its content"]
    ):
        assert f"chat.jsonl, row {len(CHATS) + number + 1}, column messages" in told
        assert problem in told


def test_the_loss_counts_what_the_assistant_says_and_its_end(tmp_path: Path) -> None:
    corpus, _ = read(write_lines(tmp_path / "chat.jsonl", CHATS))
    tokenizer = train_tokenizer("char", ["say abc"], 100, framing="generation")
    tokenizer.inner.add_special_tokens(["<|user|>", "<|assistant|>"])
    split = split_of(tmp_path / "made", corpus, tokenizer, context=64)
    inputs, labels = split.batch(np.array([0, 1]))
    record = corpus.records["train"][0]
    said = record[1].text
    assert spell(tokenizer, inputs[0]).startswith(f"<|user|>{record[0].text}<|endoftext|><|assistant|>{said}")
    assert spell(tokenizer, labels[0]) == f"{said}<|endoftext|>"
    first = int((labels[0] != IGNORED).int().argmax())
    assert labels[0, first] == inputs[0, first + 1], "a label is the next input"
    assert spell(tokenizer, split.prompt(99)[0]) == f"<|user|>{record[0].text}<|endoftext|><|assistant|>"


def test_completions_count_and_prompts_do_not(tmp_path: Path) -> None:
    records = [{"prompt": f"{n} plus 1 is ", "completion": f"{n + 1}"} for n in range(20)]
    corpus, _ = read(write_lines(tmp_path / "sums.jsonl", records))
    tokenizer = train_tokenizer("bpe", ["1 plus 1 is 2"], 300, framing="generation")
    split = split_of(tmp_path / "made", corpus, tokenizer, context=64)
    _, labels = split.batch(np.arange(len(split)))
    assert {spell(tokenizer, row) for row in labels} == {f"{record[1].text}<|endoftext|>" for record in corpus.records["train"]}
    counted = sum(len(record[1].text) for record in corpus.records["train"])
    assert split.size.num_bytes == counted


def test_rows_that_are_too_long_are_cut_and_those_left_without_labels_dropped(tmp_path: Path) -> None:
    records = [(Turn("aaaa", counts=False, ends=False), Turn("bbbb")), (Turn("a" * 9, counts=False, ends=False), Turn("b"))]
    corpus = Corpus("completions", {"train": records, "validation": [], "test": []})  # type: ignore[dict-item]
    tokenizer = train_tokenizer("char", ["ab"], 100, framing="generation")
    findings = Findings()
    write_tokens(tmp_path, corpus, tokenizer, context=6, findings=findings)
    split = TokenSplit(tmp_path, "train", vocab_size=tokenizer.vocab_size, context=6)
    assert len(split) == 1
    assert spell(tokenizer, split.batch(np.array([0]))[1][0]) == "bbb"
    assert findings.counts == {"rows cut to context_length": 2, "rows dropped because nothing that counts is within context_length": 1}


def test_what_a_user_writes_is_never_a_special_token() -> None:
    tokenizer = train_tokenizer("bpe", [LINES], 300, framing="generation")
    ids = encode_plain(tokenizer, ["a<|endoftext|>b"])[0]
    assert tokenizer.end_id not in ids
    assert tokenizer.decode(ids) == "a<|endoftext|>b"


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_evaluation_blocks_predict_every_token_once_and_training_blocks_each_once_an_epoch(tmp_path: Path, kind: Any) -> None:
    tokenizer = train_tokenizer(kind, [LINES], 300, framing="generation")
    corpus = Corpus("text", {"train": [(Turn(LINES, ends=False),)], "validation": [], "test": []})
    split = split_of(tmp_path / "made", corpus, tokenizer, context=10)
    inputs, labels = split.batch(np.arange(len(split)))
    assert spell(tokenizer, inputs[0, :1]) + spell(tokenizer, labels.flatten()) == LINES
    assert (labels != IGNORED).sum() == split.size.num_targets
    assert split.size.num_bytes == len(LINES) - len(spell(tokenizer, inputs[0, :1]))
    num = len(split.tokens)
    ring, following = split.ring(np.arange(len(split)) * 10 + 7)
    assert torch.equal(ring[:, 1:], following[:, :-1])
    seen = np.bincount((np.arange(len(split) * 10) + 7) % num, minlength=num)
    assert seen.min() == 1
    assert torch.equal(ring.flatten()[:num], torch.from_numpy(np.roll(split.tokens, -7).astype(np.int64)))


@pytest.fixture(scope="module")
def text_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text(LINES)
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, warm_parent: WarmParent, text_dir: Path) -> Attempt:
    attempt = Launch(root=tmp_path_factory.mktemp("lm"), parent=warm_parent, data_dir=text_dir)(TINY).run()
    attempt.expect(Reason.COMPLETED)
    return attempt


def test_two_ranks_learn_and_leave_a_package_that_says_the_loss_it_was_given(straight: Attempt) -> None:
    losses = straight.series("loss")
    assert losses[-1] < losses[0] - 0.3
    package = straight.run_dir.artifacts
    config = json.loads((package / "config.json").read_text())
    model = build(config["architecture"])
    model.load_state_dict(read_tensors(package / "model.safetensors"))
    tokenizer = Tokenizer.load(package / "tokenizer.json")
    cut = round(len(LINES) * 0.1)
    ids = torch.tensor(encode_plain(tokenizer, [LINES[-cut:]])[0])
    nats = 0.0
    for start in range(0, len(ids) - 1, 16):  # by hand, block by block
        block = ids[start : start + 17]
        nats += functional.cross_entropy(model.eval()(block[None, :-1])[0], block[1:], reduction="sum").item()
    result = straight.result()
    assert result is not None
    assert result.metrics["test_loss"] == pytest.approx(nats / (cut - 1), rel=1e-4)
    assert result.metrics["test_bits_per_byte"] == pytest.approx(nats / math.log(2) / (cut - 1), rel=1e-4)
    assert result.metrics["test_perplexity"] == pytest.approx(math.exp(nats / (cut - 1)), rel=1e-4)


def test_samples_are_told_and_packaged_and_the_predictor_continues_a_prompt(straight: Attempt) -> None:
    package = straight.run_dir.artifacts
    samples = [json.loads(line) for line in (package / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 3, "two evaluations and the test"
    assert f"sample after {samples[0]['prompt']!r}" in straight.logs()
    config = read_config(package)
    predictor = predictor_class(config["recipe"])(package, config, load_model(package, config, "cpu"))
    with torch.inference_mode():
        (row,) = predictor.predict(["the cat"])
    assert row["input"] == "the cat"
    assert 0 < len(row["text"]) <= 200


def test_promise_08_a_kill_and_a_resume_give_the_same_weights(launch: Launch, straight: Attempt, text_dir: Path) -> None:
    launch.data_dir = text_dir
    assert launch.killed_and_resumed(TINY, after=1).weights() == straight.weights()


def test_chats_train_alike_on_one_rank_and_two(launch: Launch, tmp_path: Path) -> None:
    """Rows differ in how much of them counts; the mean is over all that counts on all ranks."""
    launch.data_dir = write_lines(tmp_path / "chat.jsonl", CHATS)
    spec = {**TINY, "model": {**TINY["model"], "dropout": 0.0}, "data": {"tokenizer": "char", "context_length": 48}, "seed": 1}
    del spec["resources"]
    one, two = launch(spec, num_ranks=1).run(), launch(spec, num_ranks=2).run()
    two.expect(Reason.COMPLETED)
    assert two.series("loss") == pytest.approx(one.series("loss"), rel=1e-4)


def test_a_text_shorter_than_a_block_is_refused(launch: Launch, tmp_path: Path) -> None:
    launch.data_dir = tmp_path / "short.txt"
    launch.data_dir.write_text("too short")
    outcome = launch(TINY, num_ranks=1).run().expect(Reason.INVALID_DATA)
    assert "the train split has 8 tokens; a block of context_length 16" in outcome.message


@pytest.mark.parametrize("more", [{"strategy": "ddp"}, {"strategy": "fsdp", "ema": 0.5}], ids=["ddp", "fsdp with an average"])
def test_adapters_are_trained_on_two_ranks_and_packaged_as_plain_weights(
    launch: Launch, straight: Attempt, text_dir: Path, more: dict[str, Any]
) -> None:
    launch.data_dir = text_dir
    tuned = {**TINY, "base_model": {"path": "/base"}, "fine_tuning": {"train": "lora", "lora_rank": 2}, "seed": 5}
    tuned["training"] = {**TINY["training"], "max_steps": 4, **more}
    attempt = launch(tuned, base_model_dir=straight.run_dir.artifacts).run()
    attempt.expect(Reason.COMPLETED)
    before = read_tensors(straight.run_dir.artifacts / "model.safetensors")
    after = read_tensors(attempt.run_dir.artifacts / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"blocks.0.attention.qkv.weight", "blocks.0.attention.out.weight"}
