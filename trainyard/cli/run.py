"""``run``: a script of your own as a job."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from core.spec import MAIN_CHANNEL
from trainyard.cli.exits import code_of_job
from trainyard.cli.session import AsJson, console, print_json, session_of
from trainyard.cli.watching import watch_job
from trainyard.client import Client
from trainyard.errors import BadInput
from trainyard.packing import pack_code
from trainyard.specs import with_settings


def register(app: typer.Typer) -> None:
    app.command()(run)


def run(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="The Python file to run; its folder goes along.")],
    args: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Handed to the script.")] = None,
    code: Annotated[Path | None, typer.Option(help="The folder that goes along, if another one; it must hold the script.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="NAME@VERSION, or CHANNEL=NAME@VERSION; repeatable.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs, one rank on each.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU slots, one rank on each; instead of --gpus.")] = None,
    launcher: Annotated[str, typer.Option(help="torchrun, accelerate or python.")] = "torchrun",
    requirements: Annotated[str | None, typer.Option(help="A requirements file inside the folder.")] = None,
    env: Annotated[list[str] | None, typer.Option("-e", "--env", metavar="NAME=VALUE", help="A variable; repeatable.")] = None,
    secret: Annotated[list[str] | None, typer.Option(help="A secret of the project, by name; repeatable.")] = None,
    name: Annotated[str | None, typer.Option(help="The job's name; by default the script's.")] = None,
    settings: Annotated[list[str] | None, typer.Option("-p", "--set", metavar="KEY=VALUE", help="Anything else of the spec.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show the job until it ends; exit 1 if it failed, 5 if cancelled.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a script of your own: trainyard run train.py --data reviews@1 --gpus 2 -- --lr 0.1."""
    if gpus and cpus:
        raise BadInput("give either --gpus or --cpus")
    folder, entrypoint = place_of(script, code)
    devices: dict[str, Any] = {"devices_per_node": gpus or cpus or 1}
    spec: dict[str, Any] = {
        "recipe": "script",
        "name": name or script.name,
        "entrypoint": entrypoint,
        "launcher": launcher,
        "args": args or [],
        "resources": devices | ({"accelerator": "cuda"} if gpus else {"accelerator": "cpu"} if cpus else {}),
        **({"requirements": requirements} if requirements else {}),
        **({"env": pairs(env, "--env")} if env else {}),
        **({"secrets": secret} if secret else {}),
        **channels_of(data or []),
    }
    session = session_of(context)
    with session.client() as client:
        spec["code"] = upload_code(client, folder)
        job = client.submit(with_settings(spec, settings or ()))
        if watch:
            job = watch_job(client, job.id, console(stderr=as_json))
        elif not as_json:
            console().print(f"{job.id} {job.state.value}\nWatch it: trainyard status --watch {job.id}")
    if as_json:
        print_json(job)
    raise typer.Exit(code_of_job(job) if watch else 0)


def place_of(script: Path, code: Path | None) -> tuple[Path, str]:
    """The folder that goes along, and the script's name in it."""
    if not script.is_file():
        raise BadInput(f"there is no file {script}")
    folder = (code or script.parent).resolve()
    try:
        return folder, script.resolve().relative_to(folder).as_posix()
    except ValueError:
        raise BadInput(f"{script} does not lie in {code}") from None


def channels_of(data: list[str]) -> dict[str, Any]:
    """``dataset`` for what has no channel, ``datasets`` for the rest."""
    named = pairs([text if "=" in text else f"{MAIN_CHANNEL}={text}" for text in data], "--data")
    if len(named) < len(data):
        raise BadInput("--data: a channel is given twice")
    main = named.pop(MAIN_CHANNEL, None)
    return {**({"dataset": main} if main else {}), **({"datasets": named} if named else {})}


def pairs(texts: list[str], option: str) -> dict[str, str]:
    bad = [text for text in texts if "=" not in text]
    if bad:
        raise BadInput(f"{option} {bad[0]}: write it as NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def upload_code(client: Client, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="trainyard-code-") as place:
        archive = Path(place, "code.tar.gz")
        with archive.open("wb") as file:
            pack_code(folder, file)
        described = client.upload(archive)
    return {"sha256": described.sha256, "size": described.size}
