"""``dataset``: push files, look at versions and what their validation found, download, prepare, delete."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from core.states import DatasetState
from core.wire.datasets import Dataset, DatasetVersion
from trainyard.cli.bars import shown_downloads, shown_push, tell_downloaded
from trainyard.cli.exits import FAILED, OK
from trainyard.cli.profiles import show_profile
from trainyard.cli.session import AsJson, console, print_json, print_table, session_of
from trainyard.cli.words import ago, size
from trainyard.client import Client
from trainyard.datasets import LATEST, VersionLike, local_files
from trainyard.errors import BadInput, NotFound

_STYLES = {DatasetState.READY: "green", DatasetState.INVALID: "red", DatasetState.VALIDATING: "cyan"}

dataset = typer.Typer(help="Push datasets, and look after them.", no_args_is_help=True, rich_markup_mode=None)
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A dataset; without a version the newest that is ready.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the validation.")]


def register(app: typer.Typer) -> None:
    app.add_typer(dataset, name="dataset")


@dataset.command()
def push(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A file or a folder.")],
    name: Annotated[str | None, typer.Option(help="By default made from the path.")] = None,
    task: Annotated[str | None, typer.Option(help="The recipe that will train on it; by default told from the files.")] = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Send a file or folder as the newest version of a dataset, and see it validated; run it again to go on with a broken one."""
    with session_of(context).client() as client:
        with shown_push(local_files(path)) as told:
            version = client.push_dataset(path, name, task=task, on_bytes=told)
        _follow(client, version, no_wait=no_wait, as_json=as_json)


@dataset.command("list")
def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List the datasets, newest first."""
    with session_of(context).client() as client:
        found = list(client.datasets())
    if as_json:
        print_json(found)
        return
    rows = [(item.name, _number(item.latest), item.task or "-", ago(item.created_at)) for item in found]
    print_table(("DATASET", "LATEST", "TASK", "CREATED"), rows, empty="no datasets")


@dataset.command()
def show(context: typer.Context, name: Reference, as_json: AsJson = False) -> None:
    """Show a dataset with its versions, or one version with what its validation found."""
    stem, version = parse_reference(name)
    with session_of(context).client() as client:
        if "@" not in name:
            found = client.dataset(stem)
            print_json(found) if as_json else _show_dataset(found)
            return
        one = client.dataset_version(stem, version)
        profile = _profile(client, one)
    if as_json:
        print_json({**one.model_dump(mode="json"), "profile": profile})
        return
    _show_version(one)
    show_profile(profile)


@dataset.command()
def download(
    context: typer.Context,
    name: Reference,
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", help="By default a folder named after the version.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a version's files and verify them; run it again to go on with a broken download."""
    stem, version = parse_reference(name)
    with session_of(context).client() as client:
        number = client.dataset_version(stem, version).number
        target = folder or Path(f"{stem}-{number}")
        with shown_downloads() as advance:
            paths = client.download_dataset(stem, target, version=number, on_bytes=advance)
    tell_downloaded({"dataset": stem, "version": number}, target, paths, as_json=as_json)


@dataset.command()
def report(
    context: typer.Context,
    name: Reference,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="By default NAME-VERSION.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Save what the validation found as a page with plots, which any browser opens."""
    stem, version = parse_reference(name)
    with session_of(context).client() as client:
        number = client.dataset_version(stem, version).number
        target = file or Path(f"{stem}-{number}.html")
        target.write_bytes(client.dataset_report(stem, number))
    print_json({"dataset": stem, "version": number, "file": str(target)}) if as_json else console().print(f"{name}: {target}")


@dataset.command()
def delete(context: typer.Context, name: Reference, as_json: AsJson = False) -> None:
    """Delete one version, or without @VERSION the whole dataset; refused while a job needs it."""
    stem, version = parse_reference(name)
    if "@" in name and version == LATEST:
        raise BadInput("say which version by its number")
    number = None if version == LATEST else version
    with session_of(context).client() as client:
        client.delete_dataset(stem, number)
    print_json({"deleted": name}) if as_json else console().print(f"{name} deleted")


@dataset.command()
def prepare(
    context: typer.Context,
    name: Reference,
    steps: Annotated[Path, typer.Argument(help="A JSON file with the list of steps.")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    into: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The dataset that gets the version; by default the same.")
    ] = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Have a job make a new version by declared steps, and see it validated."""
    stem, version = parse_reference(name)
    with session_of(context).client() as client:
        made = client.prepare_dataset(stem, read_steps(steps), version=version, seed=seed, into=into)
        _follow(client, made, no_wait=no_wait, as_json=as_json)


def parse_reference(text: str) -> tuple[str, VersionLike]:
    """``name``, ``name@3`` or ``name@latest``."""
    name, at, version = text.partition("@")
    if not at or version == LATEST:
        return name, LATEST
    if not version.isdecimal():
        raise BadInput(f"{version!r} is no version: say a number, or latest")
    return name, int(version)


def read_steps(file: Path) -> list[dict[str, Any]]:
    try:
        steps = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: {error}") from None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise BadInput(f"{file} must hold a JSON list of steps, each an object")
    return steps


def _follow(client: Client, version: DatasetVersion, *, no_wait: bool, as_json: bool) -> None:
    """Waits for the validation unless told not to, and says what came of it; ends with 1 when the version is invalid."""
    if not no_wait and not version.is_terminal:
        console(stderr=True).print(f"{version.dataset}@{version.number} {version.state}: waits for {version.job_id}")
        version = client.wait_for_dataset(version)
    profile = _profile(client, version)
    if as_json:
        print_json({**version.model_dump(mode="json"), "profile": profile})
    else:
        _show_version(version)
        show_profile(profile)
    raise typer.Exit(FAILED if version.state is DatasetState.INVALID else OK)


def _profile(client: Client, version: DatasetVersion) -> dict[str, Any] | None:
    if not version.is_terminal:
        return None
    try:
        return client.dataset_profile(version.dataset, version.number)
    except NotFound:  # its job has failed
        return None


def _show_dataset(found: Dataset) -> None:
    console().print(f"{found.name}  latest {_number(found.latest)}  task {found.task or '-'}")
    rows = [
        (str(item.number), _state(item), str(item.num_files), size(item.num_bytes), _origin(item), ago(item.created_at), item.message or "")
        for item in found.versions
    ]
    print_table(("VERSION", "STATE", "FILES", "SIZE", "FROM", "CREATED", "MESSAGE"), rows, empty="no versions yet", wraps="MESSAGE")


def _show_version(version: DatasetVersion) -> None:
    line = Text.assemble((f"{version.dataset}@{version.number}", "bold"), "  ", _state(version))
    line.append(f"  {version.num_files} files, {size(version.num_bytes)}")
    if version.message:
        line.append(f"  {version.message}")
    console().print(line)


def _state(version: DatasetVersion) -> Text:
    return Text(version.state.value, style=_STYLES.get(version.state, "blue"))


def _origin(version: DatasetVersion) -> str:
    return f"{version.lineage.dataset}@{version.lineage.version}" if version.lineage else "-"


def _number(latest: int | None) -> str:
    return "-" if latest is None else str(latest)
