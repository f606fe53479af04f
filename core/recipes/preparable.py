"""Which step of a preparation means something to which form of dataset: what the API refuses at once, and a worker before it begins."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from core.recipes.dataset_preparation import (
    Augment,
    Balance,
    ClipOutliers,
    DropByLength,
    DropDuplicates,
    DropMissing,
    FixEncoding,
    Impute,
    MapColumns,
    MapTags,
    Normalise,
    Sample,
    Split,
)
from core.spec import Section

Form = Literal["table", "text", "conll", "images", "idx", "arrays"]
AUDIO_ARCHIVE = "audio-archive"  # a .zip of recordings and their table, which is unpacked first
FORMS: dict[str, Form] = {
    **dict.fromkeys(("csv", "tsv", "tab", "jsonl", "ndjson", "json", "parquet", "pq"), "table"),
    AUDIO_ARCHIVE: "table",
    "text": "text",
    "conll": "conll",
    "image-folder": "images",
    "image-archive": "images",
    "idx": "idx",
    "image-arrays": "arrays",
}
WORDS: dict[Form, str] = {
    "table": "a table",
    "text": "plain text",
    "conll": "tagged words in columns",
    "images": "a set of images",
    "idx": "a set of images",
    "arrays": "a set of images",
}
OF_IMAGES = (DropDuplicates, Split, Sample, Balance, Augment)
STEPS_OF: dict[Form, tuple[type[Section], ...]] = {
    "table": (*OF_IMAGES, FixEncoding, DropMissing, DropByLength, Impute, ClipOutliers, Normalise, MapColumns, MapTags),
    "text": (FixEncoding, DropDuplicates, DropMissing, DropByLength, Split, Sample),
    "conll": (FixEncoding, DropDuplicates, DropByLength, MapTags, Split, Sample, Balance),
    "images": OF_IMAGES,
    "idx": OF_IMAGES,
    "arrays": OF_IMAGES,
}
LABEL = "label"  # what the class of an image may be called in a step
WITHOUT_ENCODING = ("parquet", "pq")


class Described(NamedTuple):
    """What is known of a dataset. ``columns``: of a table all that it has, None where that is not known.

    ``has_audio`` and ``has_tags``: its rows name recordings, or hold words and their tags; None where that is not known.
    """

    format: str
    columns: tuple[str, ...] | None = None
    has_audio: bool | None = None
    has_tags: bool | None = None

    @property
    def form(self) -> Form | None:
        return FORMS.get(self.format)


Problems = Iterator[tuple[int, str]]


def problems_of(steps: Sequence[Section], of: Described) -> list[tuple[int, str]]:
    """(number of the step from 0, what is wrong with it), everything at once, step after step."""
    return sorted(_problems_of(steps, of), key=lambda problem: problem[0])


def _problems_of(steps: Sequence[Section], of: Described) -> Problems:
    if of.form is None:
        formats = (
            f"its tables are in different formats, {of.format}" if "+" in of.format else f"no step is for a dataset of format {of.format}"
        )
        yield 0, f"{formats}; steps are for tables of one format, plain text, tagged words, and images"
        return
    for number, step in enumerate(steps):
        problem = _problem_of(step, of, of.form)
        if problem is not None:
            yield number, problem
    if of.form == "table" and of.columns is not None:
        yield from _problems_of_names(steps, of.columns)


def _problem_of(step: Section, of: Described, form: Form) -> str | None:
    if not isinstance(step, STEPS_OF[form]):
        return f"{getattr(step, 'do', 'it')} means nothing to {WORDS[form]}"
    if getattr(step, "unit", "row") == "document" and form not in ("text", "conll"):
        return f"{WORDS[form]} has no documents; leave unit out"
    return _CHECKS[form](step, of)


def _of_images(step: Section, of: Described) -> str | None:
    if isinstance(step, Augment) and step.images is None:
        return f"these are images, and it says what to do with {'texts' if step.text is not None else 'recordings'}"
    if isinstance(step, Split) and step.by in ("group", "time"):
        return f"images have no column to split by {step.by}"
    strangers = [name for name in columns_of(step) if name != LABEL]
    return f"images have no column {strangers[0]!r}, only {LABEL}" if strangers else None


def _of_text(step: Section, of: Described) -> str | None:
    named = columns_of(step)
    if named:
        return f"plain text has no column {named[0]!r}"
    if isinstance(step, Split) and step.by in ("stratified", "group"):
        return f"plain text has nothing to split by {step.by}; ratio and time go by lines, or by documents"
    if isinstance(step, DropByLength) and step.unit == "seconds":
        return "plain text has no length in seconds"
    return None


def _of_conll(step: Section, of: Described) -> str | None:
    named = columns_of(step)
    if named:
        return f"columns of tagged words have no names, and it names {named[0]!r}"
    if isinstance(step, Split) and step.by in ("stratified", "group"):
        return f"sentences have nothing to split by {step.by}; ratio and time go by sentences, or by documents"
    if isinstance(step, DropByLength) and step.unit != "words":
        return "sentences of tagged words are as long as they have words"
    return None


def _of_table(step: Section, of: Described) -> str | None:
    if isinstance(step, FixEncoding) and of.format in WITHOUT_ENCODING:
        return "parquet has no encoding to fix"
    if isinstance(step, MapTags) and of.has_tags is False:
        return "this table has no words with tags"
    if isinstance(step, Balance) and step.label is None and of.has_tags is False:
        return "label names the column of classes; of a table it must be given"
    if isinstance(step, Split) and step.by != "ratio" and step.column is None:
        return f"split by {step.by} needs a column"
    if isinstance(step, Augment) and step.images is not None:
        return "this is a table, and it says what to do with images"
    of_sounds = (isinstance(step, Augment) and step.audio is not None) or (isinstance(step, DropByLength) and step.unit == "seconds")
    if of_sounds and of.has_audio is False:
        return "this table names no recordings in a column of the usual name, such as file_name"
    if isinstance(step, DropByLength) and step.unit == "characters" and step.column is None:
        return "of a table, column must say which is measured"
    if isinstance(step, DropByLength) and step.unit == "words" and step.column is None and of.has_tags is False:
        return "of a table, column must say which is measured"
    return None


_CHECKS: dict[Form, Callable[[Any, Described], str | None]] = {
    "table": _of_table,
    "text": _of_text,
    "conll": _of_conll,
    "images": _of_images,
    "idx": _of_images,
    "arrays": _of_images,
}


def columns_of(step: Section) -> list[str]:
    """Every column that a step names."""
    if isinstance(step, DropDuplicates | DropMissing | Impute | ClipOutliers | Normalise):
        return list(step.columns or ())
    if isinstance(step, MapColumns):
        return [*(step.keep or ()), *(step.drop or ()), *step.rename]
    named = {Split: "column", Sample: "stratified_by", Balance: "label", DropByLength: "column"}.get(type(step))
    if named is not None:
        name = getattr(step, named)
        return [] if name is None else [name]
    return [step.text.column] if isinstance(step, Augment) and step.text is not None else []


def _problems_of_names(steps: Sequence[Section], columns: Sequence[str]) -> Problems:
    """Follows the names through the steps."""
    names = list(columns)
    for number, step in enumerate(steps):
        for name in dict.fromkeys(columns_of(step)):
            if name not in names:
                yield number, f"there is no column {name!r}; the columns are {listed(names)}"
        if isinstance(step, MapColumns):
            for problem in _problems_of_mapping(step, names):
                yield number, problem
            names = list(renamed(step, names))


def _problems_of_mapping(step: MapColumns, names: Sequence[str]) -> Iterator[str]:
    left = [name for name in names if name not in (step.drop or ())] if step.keep is None else list(step.keep)
    if not left:
        yield "no column is left"
    gone = [name for name in step.rename if name in names and name not in left]
    if gone:
        yield f"it renames {listed(gone)}, which it leaves out"
    after = [step.rename.get(name, name) for name in left]
    twice = sorted({name for name in after if after.count(name) > 1})
    if twice:
        yield f"two columns would be called {listed(twice)}"


def renamed(step: MapColumns, names: Sequence[str]) -> Mapping[str, str]:
    """{name afterwards: name before} of the columns that stay, in their order."""
    left = [name for name in names if name not in (step.drop or ())] if step.keep is None else [name for name in step.keep if name in names]
    return {step.rename.get(name, name): name for name in left}


def listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more if names else "none"
