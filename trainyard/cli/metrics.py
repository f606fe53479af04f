"""``metrics``."""

from typing import Annotated

import typer

from trainyard.cli.session import AsJson, JobArgument, find_job, print_json, print_table, session_of
from trainyard.cli.words import number, sparkline

SHOWN_POINTS = 200


def register(app: typer.Typer) -> None:
    app.command()(metrics)


def metrics(
    context: typer.Context,
    job: JobArgument = "last",
    name: Annotated[list[str] | None, typer.Option(help="Only this metric; repeatable.")] = None,
    max_points: Annotated[int, typer.Option(min=2, max=10_000, help="Points per metric; extremes are kept.")] = SHOWN_POINTS,
    attempt: Annotated[int | None, typer.Option(min=1, help="One attempt's own points; by default all attempts as one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a job's metrics: last value, extremes and course."""
    with session_of(context).client() as client:
        answer = client.metrics(find_job(client, job), names=name or (), max_points=max_points, attempt=attempt)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            series.name,
            number(series.last),
            number(series.minimum),
            number(series.maximum),
            str(series.num_points),
            str(series.steps[-1]) if series.steps else "-",
            sparkline(series.values),
        )
        for series in answer.series
    ]
    print_table(("METRIC", "LAST", "MIN", "MAX", "POINTS", "STEP", "COURSE"), rows, empty="no metrics yet", wraps="COURSE")
