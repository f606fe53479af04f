"""``model``: look at models and their versions, register, push, promote, compare, download, delete."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import TypeAdapter, ValidationError
from rich.text import Text

from core.spec import Dataset
from core.wire.models import MetricComparison, ModelVersion, Promotion, RegisteredModel
from trainyard.cli.bars import shown_downloads, shown_push, tell_downloaded
from trainyard.cli.exits import FAILED
from trainyard.cli.session import AsJson, console, find_job, print_json, print_table, session_of
from trainyard.cli.words import ago, number, size
from trainyard.client import Client
from trainyard.errors import BadInput
from trainyard.models import VersionLike, local_files

SHOWN_EVENTS = 20
_DATASET: TypeAdapter[Dataset] = TypeAdapter(Dataset)
_STYLES = {"promoted": "green", "pending": "cyan"}

model = typer.Typer(help="Models, their versions and aliases.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A version by number or alias; by default the latest.")]


def register(app: typer.Typer) -> None:
    app.add_typer(model, name="model")


@model.command("list")
def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models, newest first."""
    with session_of(context).client() as client:
        found = list(client.models())
    if as_json:
        print_json(found)
        return
    rows = [(item.name, _latest(item), _aliases(item), item.description, ago(item.created_at)) for item in found]
    print_table(("MODEL", "LATEST", "ALIASES", "DESCRIPTION", "CREATED"), rows, empty="no models", wraps="DESCRIPTION")


@model.command()
def show(context: typer.Context, name: Reference, as_json: AsJson = False) -> None:
    """Show a model with its versions and history, or one version with its metrics and files."""
    stem, at, version = name.partition("@")
    with session_of(context).client() as client:
        _show_version(client, stem, version, as_json=as_json) if at else _show_model(client, stem, as_json=as_json)


@model.command("register")
def register_job(
    context: typer.Context,
    name: Name,
    job: Annotated[str, typer.Argument(metavar="JOB", help="A succeeded job's id, or 'last' for the newest job.")] = "last",
    description: Annotated[str | None, typer.Option(help="Of the model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the package of a succeeded job the next version of a model."""
    with session_of(context).client() as client:
        version = client.register_model(name, find_job(client, job), description=description)
    print_json(version) if as_json else _print_version(version)


@model.command()
def push(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder with .safetensors in it.")],
    name: Name,
    as_json: AsJson = False,
) -> None:
    """Send a folder of your own as the next version of a model; run it again to go on with a broken one."""
    with session_of(context).client() as client, shown_push(local_files(folder)) as told:
        version = client.push_model(folder, name, on_bytes=told)
    print_json(version) if as_json else _print_version(version)


@model.command()
def promote(
    context: typer.Context,
    name: Reference,
    alias: Annotated[str, typer.Argument(help="Such as production.")],
    unless_worse: Annotated[
        str | None, typer.Option(metavar="METRIC", help="Only if the version is no worse here than the present one, such as accuracy.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="So much worse is still accepted.")] = 0.0,
    dataset: Annotated[str | None, typer.Option(metavar="NAME@VERSION", help="Score both versions on this dataset, by jobs.")] = None,
    better: Annotated[Literal["higher", "lower"] | None, typer.Option(help="For metrics that are not known.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the jobs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Point an alias to a version; ends with 1 when the check refuses it."""
    if unless_worse is None and (dataset is not None or tolerance or better):
        raise BadInput("--dataset, --tolerance and --better belong to --unless-worse METRIC")
    stem, version = parse_reference(name)
    with session_of(context).client() as client:
        promotion = client.promote(
            stem,
            version,
            alias,
            unless_worse=unless_worse,
            tolerance=tolerance,
            dataset=_dataset(dataset),
            higher_is_better=None if better is None else better == "higher",
        )
        if promotion.outcome == "pending" and not no_wait:
            console(stderr=True).print(promotion.message)
            promotion = client.wait_for_promotion(promotion)
    print_json(promotion) if as_json else _print_promotion(promotion)
    if promotion.outcome not in ("promoted", "pending"):
        raise typer.Exit(FAILED)


@model.command()
def unalias(context: typer.Context, name: Name, alias: str, as_json: AsJson = False) -> None:
    """Remove an alias; the version stays."""
    with session_of(context).client() as client:
        client.remove_alias(name, alias)
    print_json({"removed": alias}) if as_json else console().print(f"{alias} of {name} removed")


@model.command()
def compare(
    context: typer.Context,
    name: Name,
    a: Annotated[str, typer.Argument(help="A number or an alias.")],
    b: Annotated[str, typer.Argument(help="A number or an alias.")] = "latest",
    as_json: AsJson = False,
) -> None:
    """Show two versions side by side: metrics, data, and where their specs differ."""
    with session_of(context).client() as client:
        found = client.compare_models(name, a, b)
    if as_json:
        print_json(found)
        return
    first, second = f"{name}@{found.a.version}", f"{name}@{found.b.version}"
    rows = [(metric, number(item.a), number(item.b), *_verdict(item)) for metric, item in found.metrics.items()]
    print_table(("METRIC", first, second, "DIFFERENCE", "BETTER"), rows, empty="neither has metrics")
    known = {True: "the same", False: "not the same", None: "perhaps the same"}
    console().print(f"\ndata: {known[found.same_data]}   files: {known[found.same_files]}")
    if found.spec_differences is None:
        console().print("specs: one of the two was uploaded and has none")
        return
    differences = [(item.pointer, json.dumps(item.a), json.dumps(item.b)) for item in found.spec_differences]
    print_table(("SPEC", first, second), differences, empty="specs: the same", wraps=second)


@model.command()
def download(
    context: typer.Context,
    name: Reference,
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", help="By default a folder named after the version.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a version's files and verify them; run it again to go on with a broken download."""
    stem, version = parse_reference(name)
    with session_of(context).client() as client:
        exact = client.model_version(stem, version).version
        target = folder or Path(f"{stem}-{exact}")
        with shown_downloads() as advance:
            paths = client.download_model(stem, target, version=exact, on_bytes=advance)
    tell_downloaded({"model": stem, "version": exact}, target, paths, as_json=as_json)


@model.command()
def delete(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME@NUMBER", help="A version by its number.")],
    as_json: AsJson = False,
) -> None:
    """Delete a version; refused while an alias points to it or a job starts from it. Its number is not given again."""
    stem, version = parse_reference(name)
    if not isinstance(version, int):
        raise BadInput("say which version by its number, such as digits@3")
    with session_of(context).client() as client:
        client.delete_model_version(stem, version)
    print_json({"deleted": name}) if as_json else console().print(f"{name} deleted")


def parse_reference(text: str) -> tuple[str, VersionLike]:
    """``name``, ``name@3``, ``name@production``; without a version the latest."""
    name, at, version = text.partition("@")
    if not name or (at and not version):
        raise BadInput(f"{text!r} is no version of a model: write it as name@number or name@alias")
    return name, int(version) if version.isdecimal() else version or "latest"


def _dataset(text: str | None) -> Dataset | None:
    """``name@version``, or the JSON object of a dataset in a spec."""
    if text is None:
        return None
    try:
        return _DATASET.validate_json(text) if text.startswith("{") else _DATASET.validate_python(text)
    except ValidationError as error:
        raise BadInput(f"--dataset {text}: {error.errors(include_url=False)[0]['msg']}") from None


def _show_model(client: Client, name: str, *, as_json: bool) -> None:
    found, versions, events = client.model(name), list(client.model_versions(name)), list(client.model_events(name))
    if as_json:
        print_json({**found.model_dump(mode="json"), "versions": [item.model_dump(mode="json") for item in versions]})
        return
    out = console()
    out.print(f"{found.name}  latest {_latest(found)}  {_aliases(found)}")
    if found.description:
        out.print(found.description)
    rows = [
        (str(item.version), ", ".join(item.aliases) or "-", item.recipe or "-", _origin(item), size(item.num_bytes), ago(item.created_at))
        for item in versions
    ]
    print_table(("VERSION", "ALIASES", "RECIPE", "FROM", "SIZE", "CREATED"), rows, empty="every version was deleted")
    out.print()
    told = [(ago(event.at), event.message, event.by or "a job's spec") for event in events[-SHOWN_EVENTS:]]
    print_table(("WHEN", "WHAT", "BY"), told, empty="", wraps="WHAT")


def _show_version(client: Client, name: str, version: str, *, as_json: bool) -> None:
    found = client.model_version(name, version)
    files = client.model_files(name, found.version)
    if as_json:
        print_json({**found.model_dump(mode="json"), "files": [item.model_dump(mode="json") for item in files]})
        return
    _print_version(found)
    rows = [(metric, number(value)) for metric, value in sorted(found.metrics.items())]
    print_table(("METRIC", "VALUE"), rows, empty="no metrics")
    console().print()
    print_table(("PATH", "SIZE", "SHA-256"), [(item.path, size(item.size), item.sha256) for item in files], empty="")


def _print_version(version: ModelVersion) -> None:
    line = Text.assemble((f"{version.name}@{version.version}", "bold"), f"  {version.num_files} files, {size(version.num_bytes)}")
    line.append(f"  from {_origin(version)}")
    if version.parent is not None:
        parent = version.parent
        line.append(f"  parent {parent.name}@{parent.version}" if parent.name else f"  parent {parent.job_id}")
    if version.aliases:
        line.append(f"  {', '.join(version.aliases)}", style="green")
    console().print(line)


def _print_promotion(promotion: Promotion) -> None:
    console().print(Text.assemble((promotion.outcome, _STYLES.get(promotion.outcome, "red")), f"  {promotion.message}"))


def _verdict(item: MetricComparison) -> tuple[str, str]:
    return ("-" if item.difference is None else f"{item.difference:+.4g}", item.better or "-")


def _origin(version: ModelVersion) -> str:
    return version.job_id or "upload"


def _latest(found: RegisteredModel) -> str:
    return "-" if found.latest_version is None else str(found.latest_version)


def _aliases(found: RegisteredModel) -> str:
    return ", ".join(f"{alias}={version}" for alias, version in found.aliases.items()) or "-"
