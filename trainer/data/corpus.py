"""Texts, chats and completions for language models: what is learned from each, and in which split it stands.

Every record is a row of turns. A text is one turn whose every token counts; of a chat what the assistant says counts, of a
prompt and its completion the completion. How a record becomes tokens:

    text, document     text <|endoftext|>                (between files of text; none where there is one file)
    chat               <|user|> content <|endoftext|> <|assistant|> content <|endoftext|> ...
    completion         prompt completion <|endoftext|>

``<|endoftext|>`` is the tokenizer's own token of that meaning. ``<|system|>``, ``<|user|>`` and ``<|assistant|>`` are single
tokens of a tokenizer that is trained for the purpose, and are spelled out where a base model's tokenizer lacks them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.recipes.causal_language_modeling import Data
from trainer.data.findings import Findings
from trainer.data.layout import find_parts
from trainer.data.leaks import drop_or_report_leaks
from trainer.data.splits import make_splits
from trainer.data.table import READERS, Table, read_table
from trainer.data.text_lines import sound_text

SPLITS = ("train", "validation", "test")
TEXTS = (".txt", ".text")
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}


@dataclass(frozen=True, slots=True)
class Turn:
    """``mark`` stands before the text and never counts; ``ends``: the end-of-text token follows, and counts as the text does."""

    text: str
    counts: bool = True
    ends: bool = True
    mark: str = ""


Record = tuple[Turn, ...]


@dataclass(slots=True)
class Corpus:
    """``format`` is one of the knob's values but auto."""

    format: str
    records: dict[str, list[Record]] = field(default_factory=dict)

    @property
    def in_rows(self) -> bool:
        """Each record is trained on by itself; else the records of a split are one long row of tokens."""
        return self.format in ("chat", "completions")

    def texts(self, split: str) -> list[str]:
        return [turn.text for record in self.records[split] for turn in record]


def read_corpus(root: Path, knobs: Data, *, seed: int, findings: Findings) -> Corpus:
    """What cannot be used becomes findings; ``Findings.settle`` is the caller's."""
    if _is_plain_text(root, knobs):
        return Corpus("text", _read_texts(root, knobs, findings))
    table = read_table(root, findings, split_column=knobs.split_column)
    if findings.has_fatal:
        return Corpus("documents", {split: [] for split in SPLITS})
    chosen, records = _records_of(table, knobs, findings)
    return Corpus(chosen, _split(records, table, knobs, seed=seed, findings=findings))


def read_given(root: Path, knobs: Data, findings: Findings) -> tuple[str, list[tuple[str | None, Record]]]:
    """The format, and every record with the split that a name or the split column says; none is drawn by chance or cut off."""
    if _is_plain_text(root, knobs):
        parts = find_parts(root, TEXTS)
        ends = sum(map(len, parts.values())) > 1
        named = [(None if part == "all" else part, path) for part, paths in parts.items() for path in paths]
        return "text", [(part, (Turn(_read_text(path, root, findings), ends=ends),)) for part, path in named]
    table = read_table(root, findings, split_column=knobs.split_column)
    if findings.has_fatal:
        return "documents", []
    chosen, records = _records_of(table, knobs, findings)
    return chosen, [(part, record) for part, record in zip(table.parts, records, strict=True) if record is not None]


def _is_plain_text(root: Path, knobs: Data) -> bool:
    return knobs.format == "text" or (knobs.format == "auto" and bool(find_parts(root, TEXTS)) and not find_parts(root, tuple(READERS)))


def _records_of(table: Table, knobs: Data, findings: Findings) -> tuple[str, list[Record | None]]:
    chosen = _by_columns(table, knobs) if knobs.format == "auto" else knobs.format
    read = {"documents": _documents, "chat": _chats, "completions": _completions}[chosen]
    return chosen, read(table, knobs, findings)


def _by_columns(table: Table, knobs: Data) -> str:
    if knobs.messages_column in table.columns:
        return "chat"
    both = {knobs.prompt_column, knobs.completion_column}
    return "completions" if both <= table.columns.keys() else "documents"


def _read_texts(root: Path, knobs: Data, findings: Findings) -> dict[str, list[Record]]:
    """Given by the names of files and folders; what is missing then, or all of it, is cut off the end of the training text."""
    parts = find_parts(root, TEXTS)
    if not parts:
        findings.fatal(f"{root.name} holds no text: no file ends in {', '.join(TEXTS)}")
    files = {part: [_read_text(path, root, findings) for path in paths] for part, paths in parts.items()}
    pieces = {split: files.get(split, []) for split in SPLITS}
    pieces["train"] = pieces["train"] or files.get("all", [])
    ends = sum(map(len, pieces.values())) > 1
    fractions = {split: 0.0 if pieces[split] else getattr(knobs, f"{split}_fraction") for split in ("validation", "test")}
    length = sum(map(len, pieces["train"]))
    for split in ("test", "validation"):  # the last of the text is tested on
        pieces["train"], cut = _cut(pieces["train"], round(length * fractions[split]))
        pieces[split] = pieces[split] or cut
    return {split: [(Turn(text, ends=ends),) for text in texts] for split, texts in pieces.items()}


def _cut(texts: list[str], num_characters: int) -> tuple[list[str], list[str]]:
    """The texts without their last characters, and those."""
    kept = list(texts)
    cut: list[str] = []
    while num_characters > 0 and kept:
        last = kept.pop()
        taken = min(num_characters, len(last))
        num_characters -= taken
        if taken < len(last):
            kept.append(last[: len(last) - taken])
        cut.insert(0, last[len(last) - taken :])
    return kept, cut


def _read_text(path: Path, root: Path, findings: Findings) -> str:
    name = path.name if path == root else path.relative_to(root).as_posix()
    if not sound_text(path, name, findings):
        return ""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        findings.fatal(f"byte {error.start} (0x{error.object[error.start]:02x}) is not UTF-8; save the file as UTF-8", file=name)
        return ""


def _documents(table: Table, knobs: Data, findings: Findings) -> list[Record | None]:
    return [(Turn(text),) if text else None for text in _filled(table, knobs.text_column, findings)]


def _completions(table: Table, knobs: Data, findings: Findings) -> list[Record | None]:
    prompts = _filled(table, knobs.prompt_column, findings, may_be_empty=True)
    completions = _filled(table, knobs.completion_column, findings)
    return [
        (Turn(prompt, counts=False, ends=False), Turn(completion)) if prompt is not None and completion else None
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def _filled(table: Table, column: str, findings: Findings, *, may_be_empty: bool = False) -> Iterator[str | None]:
    """The cells of a column; None, and a finding, where one is no text. An empty cell of a CSV file is an empty text."""
    cells = table.column(column, findings)
    for position, cell in enumerate(cells if column in table.columns else []):
        if isinstance(cell, str) and (cell or may_be_empty):
            yield cell
        elif cell is None and may_be_empty:
            yield ""
        else:
            problem = "it is empty" if cell in (None, "") else f"it is {type(cell).__name__}, not a text"
            findings.bad_row(problem, **table.where(position), column=column)
            yield None


def _chats(table: Table, knobs: Data, findings: Findings) -> list[Record | None]:
    records: list[Record | None] = []
    for position, messages in enumerate(table.column(knobs.messages_column, findings)):
        problem = _problem_of(messages)
        if problem is not None:
            findings.bad_row(problem, **table.where(position), column=knobs.messages_column)
            records.append(None)
        else:
            records.append(tuple(_turn(message["role"], message["content"]) for message in messages))
    return records


def _turn(role: str, content: str) -> Turn:
    return Turn(content, counts=role == "assistant", mark=ROLES[role])


def _problem_of(messages: Any) -> str | None:
    """What is wrong with the messages of a chat; None when nothing is."""
    if not isinstance(messages, list) or not messages:
        return "it is not a list of messages"
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            return f"message {number} has no role and content"
        if message["role"] not in ROLES:
            return f"message {number} has the role {message['role']!r}, which is none of {', '.join(ROLES)}"
        if not isinstance(message["content"], str) or not message["content"]:
            return f"message {number} has no text as its content"
    if all(message["role"] != "assistant" for message in messages):
        return "the assistant says nothing in it"
    return None


def _split(records: list[Record | None], table: Table, knobs: Data, *, seed: int, findings: Findings) -> dict[str, list[Record]]:
    mask = [record is not None for record in records]
    table, kept = table.keep(mask), [record for record in records if record is not None]
    groups = table.column(knobs.group_column, findings) if knobs.group_column else None
    times = table.column(knobs.time_column, findings) if knobs.time_column else None
    splits = make_splits(len(kept), knobs, seed=seed, findings=findings, parts=table.parts, groups=groups, times=times)
    keys = ["\n".join(turn.text for turn in record) for record in kept]
    if not findings.has_fatal:
        splits = drop_or_report_leaks(splits, keys, knobs, findings)
    return {split: [kept[row] for row in np.asarray(getattr(splits, split)).tolist()] for split in SPLITS}
