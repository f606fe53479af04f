"""Values as people read them: times, sizes, states, and the line that tells how far a job is."""

from datetime import UTC, datetime

from rich.text import Text

from core.states import JobState
from core.wire.jobs import Job, ValidationReport

_STYLES = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.QUEUED: "blue",
}
_SHOWN_METRICS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "test_accuracy")
_BARS = "▁▂▃▄▅▆▇█"


def state_text(state: JobState) -> Text:
    return Text(state.value, style=_STYLES.get(state, "magenta"))


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def ago(instant: datetime, now: datetime | None = None) -> str:
    return f"{duration(((now or datetime.now(UTC)) - instant).total_seconds())} ago"


def size(num_bytes: int) -> str:
    """In binary units: ``512 B``, ``1.5 MiB``."""
    amount = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def elapsed(job: Job) -> str:
    if job.started_at is None:
        return "-"
    return duration(((job.finished_at or datetime.now(UTC)) - job.started_at).total_seconds())


def progress_line(job: Job) -> str:
    """``training  step 120/460  epoch 5/20  loss 0.31  accuracy 0.912  12 s left``."""
    parts = [job.phase.value if job.phase and not job.is_terminal else job.state.value]
    progress = job.progress
    if progress and not job.is_terminal:
        if progress.step:
            parts.append(f"step {progress.step}" + (f"/{progress.total_steps}" if progress.total_steps else ""))
        if progress.epoch is not None:
            parts.append(f"epoch {progress.epoch + 1}" + (f"/{progress.total_epochs}" if progress.total_epochs else ""))
    parts += [f"{name.replace('_', ' ')} {number(job.metrics[name])}" for name in _SHOWN_METRICS if name in job.metrics]
    if job.seconds_left is not None and not job.is_terminal:
        parts.append(f"{duration(job.seconds_left)} left")
    if job.waiting_for:
        parts.append(f"waits for {job.waiting_for}")
    return "  ".join(parts)


def fraction_done(job: Job) -> float | None:
    progress = job.progress
    if not progress or not progress.total_steps:
        return None
    return min(progress.step / progress.total_steps, 1.0)


def sparkline(values: list[float | None], width: int = 40) -> str:
    """A row of bars; each stands for the mean of its stretch."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    stretches = [known[index * len(known) // width : (index + 1) * len(known) // width] for index in range(width)]
    means = [sum(stretch) / len(stretch) for stretch in stretches if stretch]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)


def outlook_lines(report: ValidationReport) -> list[str]:
    """What is known of a job before it is submitted: nothing is said where nothing is known."""
    lines = []
    queue, likely, data = report.queue, report.estimate, report.data
    if queue is not None and queue.num_jobs:
        lines.append(f"queue: {queue.num_jobs} ahead" + (f", about {duration(queue.seconds)}" if queue.seconds is not None else ""))
    if likely is not None:
        parts = [f"{likely.num_steps:,} steps"] if likely.num_steps is not None else []
        parts += [f"about {duration(likely.seconds)}"] if likely.seconds is not None else []
        parts += [f"{size(round(likely.memory_bytes))} a device"] if likely.memory_bytes is not None else []
        told = f" (as {len(likely.from_jobs)} earlier jobs)" if likely.from_jobs else ""
        lines += [f"estimate: {', '.join(parts)}{told}"] if parts else []
    if data is not None:
        cut = f", {data.truncated_share:.0%} of the texts are cut" if data.truncated_share else ""
        rows = f"{data.num_training_rows:,}" if data.num_training_rows is not None else "unknown"
        lines += [f"data: {data.name}@{data.version}, training rows: {rows}{cut}", *(f"  {warning.message}" for warning in data.warnings)]
    return lines
