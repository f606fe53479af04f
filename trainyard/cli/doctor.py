"""``doctor``: looks at what the service needs on this machine, and says what to do where it is missing."""

from typing import Annotated

import typer
from rich.text import Text

from trainyard.cli.session import AsJson, print_json, print_table, session_of
from trainyard.settings import state_folder
from trainyard.symptoms import Finding, examine

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The port that 'trainyard up' would take.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Check this machine and the server; exit 1 when something is broken."""
    session = session_of(context)
    findings = examine(state_folder(session.home), port=port, url=session.url, home=session.home)
    if as_json:
        print_json({"findings": [finding.as_data() for finding in findings]})
    else:
        rows = [(item.what, Text(item.verdict, style=_STYLES[item.verdict]), _words(item)) for item in findings]
        print_table(("CHECK", "VERDICT", "WHAT WAS SEEN"), rows, empty="nothing to check", wraps="WHAT WAS SEEN")
    raise typer.Exit(1 if any(finding.verdict == "problem" for finding in findings) else 0)


def _words(finding: Finding) -> str:
    return finding.seen + (f". {finding.advice}" if finding.advice else "")
