"""``report.html``: a profile for people, one file by itself. No scripts, nothing is loaded from elsewhere, all text is escaped."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from core.profile import ColumnProfile, Count, Numbers, Profile

MOST_COLUMNS = 200
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; font-size: 13px }
th, td { border: 1px solid #ccc; padding: .25rem .5rem; text-align: left; vertical-align: top }
th, td:first-child { white-space: nowrap }
td { overflow-wrap: anywhere } .valid { color: #17692d } .invalid { color: #a11 } img { max-width: 100% } div { overflow-x: auto }
"""


def render(profile: Profile, plots: Sequence[Path]) -> str:
    """``plots`` are SVG files, which become part of the page as pictures: what is in a picture cannot run."""
    verdict = "valid" if profile.valid else "invalid"
    body = [
        f"<h1>Dataset profile: <span class={verdict}>{verdict}</span></h1>",
        _summary(profile),
        _findings(profile),
        _list("Warnings", [f"{caution.code.replace('_', ' ')}: {caution.message}" for caution in profile.warnings]),
        *(f'<p><img alt="{escape(path.stem)}" src="data:image/svg+xml;base64,{_encoded(path)}"></p>' for path in plots),
        _labels(profile),
        _columns(profile.columns),
        _media(profile),
        _leaks(profile),
        _table(
            "Files",
            ("file", "bytes", "split", "encoding"),
            [(f.path, f"{f.num_bytes:,}", f.split, f.encoding or "") for f in profile.files],
        ),
    ]
    head = f'<meta charset="utf-8"><title>Dataset profile</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(filter(None, body)) + "\n</body></html>\n"


def _summary(profile: Profile) -> str:
    used = ", ".join(f"{role}: {column}" for role, column in profile.columns_used.items())
    rows = [
        ("format", profile.format),
        ("recipe", f"{profile.task or 'none'} ({'as told' if profile.is_task_told else 'found out'})"),
        ("columns used", used or "-"),
        ("rows", f"{profile.num_rows:,}"),
        ("splits", ", ".join(f"{split} {num:,}" for split, num in profile.splits.items())),
        ("files", f"{profile.num_files:,} with {profile.num_bytes:,} bytes"),
        ("duplicates", f"{profile.num_duplicates:,}"),
        ("findings", f"{profile.num_findings:,}"),
    ]
    return _rows(rows)


def _findings(profile: Profile) -> str:
    rows = [(found.file or "", found.row or "", found.column or "", found.message) for found in profile.findings]
    more = profile.num_findings - len(profile.findings)
    table = _table("Findings", ("file", "row", "column", "what is wrong"), rows)
    return table + (f"<p>and {more:,} more</p>" if more > 0 else "")


def _labels(profile: Profile) -> str:
    if profile.labels is None:
        return ""
    splits = list(profile.labels.counts)
    names = dict.fromkeys(name for counts in profile.labels.counts.values() for name in counts)
    rows = [(name, *(f"{profile.labels.counts[split].get(name, 0):,}" for split in splits)) for name in names]
    drifts = [f"{drift.split} against {drift.compared_with}: {drift.distance:.3f}" for drift in profile.drifts]
    return _table(f"Labels ({profile.labels.num_labels:,})", ("label", *splits), rows) + _list("Label drift (total variation)", drifts)


def _columns(columns: Sequence[ColumnProfile]) -> str:
    rows = [(c.name, c.type, f"{c.num_missing:,}", f"{c.num_unique:,}", _described(c)) for c in columns[:MOST_COLUMNS]]
    return _table("Columns", ("column", "type", "missing", "different", "values"), rows)


def _described(column: ColumnProfile) -> str:
    if column.numbers is not None:
        return _in_words(column.numbers)
    if column.lengths is not None:
        return f"words: {_in_words(column.lengths.words)}; tokens, estimated as words and marks: {_in_words(column.lengths.tokens)}"
    return _counts(column.top)


def _media(profile: Profile) -> str:
    rows: list[tuple[str, str]] = []
    if (images := profile.images) is not None:
        rows += [("sizes", _counts(images.sizes)), ("modes", _counts(images.modes)), ("formats", _counts(images.formats))]
    if (audio := profile.audio) is not None:
        seconds = "" if audio.seconds is None else f"{_in_words(audio.seconds)}; {audio.total_seconds:,.1f} in all"
        rows += [("seconds", seconds), ("rates in Hz", _counts(audio.rates))]
        rows += [("channels", _counts(audio.channels)), ("formats", _counts(audio.formats))]
    return f"<h2>Media</h2>{_rows(rows)}" if rows else ""


def _leaks(profile: Profile) -> str:
    rows = [(leak.split, leak.other, f"{leak.num_exact:,}", f"{leak.num_loose:,}") for leak in profile.leaks]
    return _table("Rows in two splits", ("rows of", "also in", "equal", "equal but for case and marks"), rows)


def _in_words(numbers: Numbers) -> str:
    return (
        f"{numbers.min:g} to {numbers.max:g}, mean {numbers.mean:g}, deviation {numbers.deviation:g}, median {numbers.quantiles['0.5']:g}"
    )


def _counts(counts: Iterable[Count]) -> str:
    return ", ".join(f"{count.value} ({count.num:,})" for count in counts)


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Nothing without rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return f"<h2>{escape(title)}</h2><div><table><tr>{head}</tr>{_cells(rows)}</table></div>"


def _rows(rows: Sequence[Sequence[object]]) -> str:
    return f"<div><table>{_cells(rows)}</table></div>"


def _cells(rows: Sequence[Sequence[object]]) -> str:
    return "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>" if lines else ""


def _text(value: object) -> str:
    return escape(str(value))


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
