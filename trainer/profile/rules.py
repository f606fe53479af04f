"""A dataset put to the rules of a recipe: read as a training job with default knobs would, every refusal noted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.recipes import RECIPES
from core.recipes.dataset_validation import HINTS_OF_TASK, OF_EVERY_TASK
from core.recipes.sections.data import DataKnobs
from trainer.data.corpus import read_corpus
from trainer.data.findings import Findings
from trainer.data.ratings import read_ratings
from trainer.data.tabular import read_tabular
from trainer.data.tagged import read_tagged_words
from trainer.data.text.columns import read_labelled_texts, read_plain_texts, split_texts
from trainer.errors import InvalidData
from trainer.profile.recording import Recorder

SEED = 0  # which rows a split gets does not matter here, only whether there is one


def knobs_of(task: str, columns: dict[str, str]) -> Any:
    """The ``data`` section of a recipe with these columns. Bad rows are left out, so that all of them are seen."""
    section = RECIPES[task].model_fields["data"].annotation
    assert isinstance(section, type)
    assert issubclass(section, DataKnobs)
    roles = (*HINTS_OF_TASK[task], *OF_EVERY_TASK)
    named: dict[str, Any] = {f"{role}_column": columns[role] for role in roles if role in columns}
    return section(on_bad_rows="drop", **named)


def check_rules(root: Path, task: str, columns: dict[str, str], recorder: Recorder) -> None:
    """For recipes that read rows; images and recordings are judged as they are decoded."""
    try:
        CHECKS[task](root, knobs_of(task, columns), recorder)
    except InvalidData as error:
        recorder.refused(error)


def _check_corpus(root: Path, knobs: Any, findings: Findings) -> None:
    corpus = read_corpus(root, knobs, seed=SEED, findings=findings)
    if not findings.has_fatal and not any(corpus.records["train"]):
        findings.fatal("there is no text to learn from")


def _check_texts(root: Path, knobs: Any, findings: Findings) -> None:
    table = read_plain_texts(root, knobs.text_column, knobs, findings)
    split_texts(table, table.columns["text"], knobs, seed=SEED, findings=findings)


CHECKS: dict[str, Callable[[Path, Any, Findings], object]] = {
    "causal-language-modeling": _check_corpus,
    "masked-language-modeling": _check_texts,
    "recommendation": lambda root, knobs, findings: read_ratings(root, knobs, seed=SEED, findings=findings),
    "tabular": lambda root, knobs, findings: read_tabular(root, knobs, seed=SEED, findings=findings),
    "text-classification": lambda root, knobs, findings: read_labelled_texts(root, knobs, seed=SEED, findings=findings),
    "token-classification": lambda root, knobs, findings: read_tagged_words(root, knobs, seed=SEED, findings=findings),
}
