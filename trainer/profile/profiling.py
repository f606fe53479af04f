"""A dataset read, judged and described: ``profile_dataset`` is all there is to call."""

from pathlib import Path
from typing import Any

from core.profile import Caution, Finding, Profile
from core.recipes.dataset_validation import Data
from trainer.data.findings import Findings
from trainer.data.ratings import ratings_file
from trainer.errors import InvalidData
from trainer.profile.audio import profile_audio
from trainer.profile.cautions import cautions_of
from trainer.profile.detection import BROKEN_ARCHIVE, Detected, detect
from trainer.profile.files import describe_files, files_below
from trainer.profile.images import profile_images
from trainer.profile.recording import Recorder, in_order
from trainer.profile.rows import Ledger
from trainer.profile.rules import CHECKS, check_rules
from trainer.profile.sketch import Sketch
from trainer.profile.tables import profile_table
from trainer.profile.texts import profile_lines, profile_tagged
from trainer.tools.telling import Tell

MOST_CAUTIONS = 100
MOST_UNSUITABLE = 10  # of what a guessed recipe would refuse, spelled out
IMAGES, AUDIO = "image-classification", "speech-recognition"


def profile_dataset(root: Path, asked: Data, tell: Tell) -> Profile:
    """Never raises for what is wrong with the data: that is what the profile says."""
    paths = files_below(root, follow_links=True)
    structure, rules = Recorder(asked.max_findings), Recorder(asked.max_findings)
    if paths:
        detected = detect(root, asked)
        sketch = _sketch(root, detected, (structure, rules), tell)
    else:
        structure.fatal("the dataset holds no file")
        detected, sketch = Detected("files", None, {}), Sketch(Ledger(has_splits=False))
    findings, num_findings, doubts = judge(detected, structure, rules)
    noticed = [Caution(code="files", message=f"{what} ({num:,})" if num > 1 else what) for what, num in structure.counts.items()]
    cautions = [*noticed, *doubts, *cautions_of(sketch)]
    if paths and detected.task is None:
        cautions.insert(0, Caution(code="unknown_format", message="no recipe reads such files; a script of your own can"))
    return Profile(
        valid=num_findings == 0,
        format=detected.format,
        task=detected.task,
        is_task_told=detected.is_told,
        columns_used=detected.columns,
        num_findings=num_findings,
        findings=findings[: asked.max_findings],
        warnings=cautions[:MOST_CAUTIONS],
        num_files=len(paths),
        num_bytes=sum(path.stat().st_size for path in paths),
        files=describe_files(root, paths),
        **_counted(sketch),
    )


def _counted(sketch: Sketch) -> dict[str, Any]:
    ledger = sketch.ledger
    return {
        "num_rows": ledger.num_rows,
        "splits": ledger.num_per_split(),
        "columns": sketch.columns,
        "images": sketch.images,
        "audio": sketch.audio,
        "labels": sketch.labels,
        "drifts": ledger.drifts(),
        "num_duplicates": ledger.num_duplicates(),
        "leaks": ledger.leaks(),
    }


def _sketch(root: Path, detected: Detected, recorders: tuple[Recorder, Recorder], tell: Tell) -> Sketch:
    """The rules first: what they read is gone before the description reads it again, and memory holds one of them at a time."""
    structure, rules = recorders
    if detected.task in CHECKS:
        check_rules(root, detected.task, detected.columns, rules)
        tell(0, 1)
    try:
        return _describe(root, detected, recorders, tell)
    except InvalidData as error:
        structure.refused(error)
    return Sketch(Ledger(has_splits=False))


def _describe(root: Path, detected: Detected, recorders: tuple[Recorder, Recorder], tell: Tell) -> Sketch:
    structure, rules = recorders
    if detected.format == BROKEN_ARCHIVE:
        structure.fatal("its .zip is no archive that can be read")
        return Sketch(Ledger(has_splits=False))
    if detected.task == IMAGES:
        return profile_images(root, detected, structure, rules, tell)
    if detected.task == AUDIO:
        return profile_audio(root, detected, structure, rules, tell)
    if detected.format == "conll":
        return profile_tagged(root, detected, structure, tell)
    if detected.format == "text":
        return profile_lines(root, detected, tell)
    if detected.task is None:
        return Sketch(Ledger(has_splits=False), unit="files")
    table = ratings_file(root) if detected.task == "recommendation" else root
    return profile_table(table, detected, Findings() if _reads_by_itself(detected) else structure, tell)


def _reads_by_itself(detected: Detected) -> bool:
    """Whether the rules have read the same files, and said the same of them; a guess has no say about what is unreadable."""
    return detected.is_sure and detected.task == "token-classification"


def judge(detected: Detected, structure: Recorder, rules: Recorder) -> tuple[list[Finding], int, list[Caution]]:
    """Findings, how many there are, and warnings.

    What cannot be read counts always. What the recipe would refuse counts when the recipe was named; of one that was
    found out, what it says of a file or row; of a guess nothing. The rest are warnings.
    """
    if detected.is_told:
        counting = set(rules.keys)
    elif detected.is_sure:
        counting = {key for key, is_placed in rules.keys.items() if is_placed}
    else:
        counting = set()
    kept = [found for found in rules.kept if _counts(found, detected)]
    doubts = [found for found in rules.kept if not _counts(found, detected) and found not in structure.kept]
    spelled = [Caution(code="unsuitable", message=f"as {detected.task}: {_placed(found)}") for found in doubts[:MOST_UNSUITABLE]]
    if len(doubts) > MOST_UNSUITABLE:
        more = f"as {detected.task}: {len(doubts) - MOST_UNSUITABLE:,} more problems"
        spelled.append(Caution(code="unsuitable", message=more))
    return in_order([*structure.kept, *kept]), len(structure.keys.keys() | counting), spelled


def _counts(finding: Finding, detected: Detected) -> bool:
    return detected.is_told or (detected.is_sure and finding.file is not None)


def _placed(finding: Finding) -> str:
    place = [finding.file, f"row {finding.row}" if finding.row else None, f"column {finding.column}" if finding.column else None]
    named = ", ".join(part for part in place if part)
    return f"{named}: {finding.message}" if named else finding.message
