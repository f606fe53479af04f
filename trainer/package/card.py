"""The model card, as Markdown: what it is, how good, on which data, how it came about and what it cost, how to use it."""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from core.spec import JobSpec
from trainer.package.contents import Package
from trainer.state import Run


def card(run: Run, package: Package, metrics: dict[str, Any], *, num_parameters: int, plots: list[Path]) -> str:
    """``metrics`` is the content of metrics.json; ``plots`` are the pictures that lie in ``plots/``."""
    spec = run.file.spec
    parts = [
        _head(run, package, num_parameters),
        _scores(metrics),
        _use(package),
        _data(run, package.data_report),
        _training(run, spec, metrics),
        _knobs(spec),
        _pictures(plots),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Run, package: Package, num_parameters: int) -> str:
    spec = run.file.spec
    made = f"A model of recipe `{spec.recipe}` with {num_parameters:,} parameters, trained by job `{run.file.job_id}`."
    text = f"# {spec.name or spec.recipe}\n\n{made}"
    facts = "\n".join(f"- {name}: {value}" for name, value in package.facts.items())
    return f"{text}\n\n{facts}" if facts else text


def _scores(metrics: dict[str, Any]) -> str:
    splits = {split: metrics[split] for split in ("test", "validation") if metrics.get(split)}
    names = [name for name in splits["test"] if name != "num_rows"]
    rows = [f"| {name} | " + " | ".join(_number(score.get(name)) for score in splits.values()) + " |" for name in names]
    rows.append("| rows | " + " | ".join(f"{score['num_rows']:,}" for score in splits.values()) + " |")
    table = "\n".join([f"| | {' | '.join(splits)} |", "|---|" + "---|" * len(splits), *rows])
    chosen = (
        "The weights are those of the best evaluation on the validation split"
        if "validation" in splits
        else "The weights are the last ones"
    )
    return f"## How good it is\n\n{table}\n\n{chosen}; the test split was used once, for the figures above. `metrics.json` has more."


def _use(package: Package) -> str:
    parts = ["## How to use it", "With trainyard and torch installed, offline:", "```sh\npython -m trainer.predict THIS_FOLDER INPUT\n```"]
    if package.export is not None:
        parts += [
            f"Without trainyard: torch {torch.__version__.split('+')[0]}, or a later one that reads its exported programs, and no more.",
            '```python\nimport torch\n\nmodel = torch.export.load("model.pt2").module()\noutput = model(batch)\n```',
            "`config.json` says what goes in and what comes out.",
        ]
    return "\n\n".join(parts)


def _data(run: Run, report: dict[str, Any]) -> str:
    spec = run.file.spec
    dataset = spec.dataset.model_dump_json() if spec.dataset else "none"
    lines = [f"- dataset: `{dataset}`"]
    if "digest" in report:
        lines.append(f"- SHA-256 of its content: `{report['digest']}`")
    if "splits" in report:
        lines.append("- rows: " + ", ".join(f"{name} {count:,}" for name, count in report["splits"].items()))
    lines += [f"- {name}: {count:,}" for name, count in report.get("counts", {}).items()]
    return "## Data\n\n" + "\n".join(lines) + "\n\n`data_report.json` has all that was found in it and done about it."


def _training(run: Run, spec: JobSpec, metrics: dict[str, Any]) -> str:
    ranks = run.ranks
    lines = [
        f"- {metrics['num_steps']:,} steps in {metrics['num_epochs']:,} epochs, {metrics['training_seconds']:.1f} s of training",
        f"- {ranks.world_size} rank(s) on {ranks.device.type}: {metrics['device_seconds']:.1f} device-seconds",
        f"- attempt {run.file.attempt}, seed {spec.seed}, deterministic: {str(spec.deterministic).lower()}",
        f"- torch {torch.__version__}, Python {platform.python_version()}, trainyard {version('trainyard')}",
        f"- packaged {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    ]
    return "## Training\n\n" + "\n".join(lines)


def _knobs(spec: JobSpec) -> str:
    sections = {name: getattr(spec, name) for name in ("data", "model", "fine_tuning", "training", "evaluation")}
    rows = [
        f"| {section} | {name} | {_cell(value)} |"
        for section, content in sections.items()
        if content is not None
        for name, value in content.model_dump(mode="json").items()
    ]
    return "\n".join(["| section | knob | value |", "|---|---|---|", *rows])


def _pictures(plots: list[Path]) -> str:
    shown = [path for path in plots if path.suffix == ".png"]
    return "\n\n".join(["## Curves", *(f"![{path.stem}](plots/{path.name})" for path in shown)]) if shown else ""


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else f"{value:,}"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
