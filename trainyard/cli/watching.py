"""Shows a job while it runs: one live line with a bar on a terminal, plain lines when a file or a program reads."""

import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from core.wire.jobs import Job
from trainyard.cli.words import fraction_done, progress_line, state_text
from trainyard.client import Client

PLAIN_PAUSE_SECONDS = 2.0


def watch_job(client: Client, job_id: str, console: Console) -> Job:
    """The job once it has ended or is paused; shows it meanwhile."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            job = client.wait(job_id, on_change=lambda job: live.update(job_view(job)))
        console.print(f"{job.id}  {progress_line(job)}")
    else:
        job = client.wait(job_id, on_change=PlainLines(console.print))
    if job.failure:
        console.print(f"  {job.failure.reason.value}: {job.failure.message}\n  More: trainyard status {job.id}, trainyard logs {job.id}")
    return job


def job_view(job: Job) -> Group:
    head = Text.assemble((job.id, "bold"), "  ", job.recipe, "  ", state_text(job.state))
    fraction = fraction_done(job)
    line = Table.grid(padding=(0, 1))
    if fraction is None or job.is_terminal:
        line.add_row(Text(progress_line(job)))
    else:
        line.add_row(ProgressBar(total=1.0, completed=fraction, width=24), Text(f"{fraction:4.0%}"), Text(progress_line(job)))
    return Group(head, line)


class PlainLines:
    """A line at each change of state or phase, and one every two seconds in between."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0

    def __call__(self, job: Job) -> None:
        what = (job.state, job.phase, job.waiting_for, job.num_attempts)
        now = self._clock()
        if what != self._told or now - self._told_at >= PLAIN_PAUSE_SECONDS:
            self._told, self._told_at = what, now
            self._write(f"{job.id}  {progress_line(job)}")
