"""What the validation of a dataset found, in a few lines: its rows, splits, classes, and what is wrong or deserves a look."""

from typing import Any

from rich.text import Text

from core.profile import LabelsProfile, Profile
from trainyard.cli.session import console
from trainyard.cli.words import duration

SHOWN_FINDINGS = 20
SHOWN_LABELS = 12


def show_profile(found: dict[str, Any] | None) -> None:
    """Nothing while there is none."""
    if found is None:
        return
    profile, out = Profile.model_validate(found), console()
    for line in summary(profile):
        out.print(Text(f"  {line}"))
    for finding in profile.findings[:SHOWN_FINDINGS]:
        place = ":".join(str(part) for part in (finding.file, finding.row, finding.column) if part is not None)
        out.print(Text(f"  {place}: {finding.message}", style="red"))
    if profile.num_findings > len(profile.findings[:SHOWN_FINDINGS]):
        out.print(f"  and {profile.num_findings - len(profile.findings[:SHOWN_FINDINGS])} more")
    for warning in profile.warnings:
        out.print(Text(f"  {warning.message}", style="yellow"))


def summary(profile: Profile) -> list[str]:
    splits = {name: num for name, num in profile.splits.items() if name != "all"}
    lines = [f"{profile.format}, {profile.num_rows:,} rows" + (f" ({_counts(splits)})" if splits else "")]
    if profile.task:
        lines.append(f"fits {profile.task}" + ("" if not profile.columns_used else f": {_used(profile.columns_used)}"))
    if profile.labels is not None:
        lines.append(_labels(profile.labels))
    if profile.images is not None and profile.images.sizes:
        lines.append(f"images of {profile.images.sizes[0].value}" + (" and other sizes" if len(profile.images.sizes) > 1 else " pixels"))
    if profile.audio is not None:
        lines.append(f"{duration(profile.audio.total_seconds)} of recordings")
    if profile.num_duplicates:
        lines.append(f"{profile.num_duplicates:,} rows equal an earlier one")
    return lines


def _labels(labels: LabelsProfile) -> str:
    """The most frequent first, over all splits."""
    total: dict[str, int] = {}
    for counts in labels.counts.values():
        for label, num in counts.items():
            total[label] = total.get(label, 0) + num
    most = dict(sorted(total.items(), key=lambda item: -item[1])[:SHOWN_LABELS])
    return f"{labels.num_labels} labels: {_counts(most)}" + (", ..." if len(total) > len(most) else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {num:,}" for name, num in counts.items())


def _used(columns: dict[str, str]) -> str:
    return ", ".join(f"{part} in '{column}'" for part, column in columns.items())
