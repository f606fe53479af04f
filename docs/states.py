"""Writes ``docs/STATES.md`` from ``core/states.py``: the tables are the law, the page is their picture."""

from pathlib import Path

from core.states import (
    ATTEMPT_MOVES,
    DATASET_MOVES,
    EFFECTS,
    FINAL,
    HOLDING_A_LEASE,
    LIVE_ATTEMPT,
    MOVES,
    SETTLED,
    AttemptState,
    DatasetState,
    Effect,
    JobState,
    Reason,
)

PAGE = Path(__file__).with_name("STATES.md")


def render() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_jobs(), *_attempts(), *_reasons(), *_datasets()]) + "\n"


def _head() -> list[str]:
    return [
        "# States",
        "",
        "Generated from `core/states.py` by `make docs`; a house rule compares the two.",
        "The words are the whole vocabulary: the API, the database, the logs and the CLI use no others.",
        "",
    ]


def _jobs() -> list[str]:
    moves = [f"    {before} --> {after}" for before, targets in MOVES.items() for after in JobState if after in targets]
    endings = [f"    {state} --> [*]" for state in JobState if state in FINAL]
    rows = [
        f"| {state} | {_yes(state in HOLDING_A_LEASE)} | {_yes(state in FINAL)} | {_words(MOVES.get(state, frozenset()))} |"
        for state in JobState
    ]
    return [
        "## Job",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {JobState.QUEUED}",
        *moves,
        *endings,
        "```",
        "",
        "| state | an attempt holds a lease | terminal | moves to |",
        "|---|---|---|---|",
        *rows,
        "",
        "A terminal state never changes. `core/jobs/transitions.py` is the only writer, and refuses any move that is not here.",
        "",
    ]


def _attempts() -> list[str]:
    rows = [f"| {state} | {_yes(state in LIVE_ATTEMPT)} | {_words(ATTEMPT_MOVES.get(state, frozenset()))} |" for state in AttemptState]
    return [
        "## Attempt",
        "",
        "| state | live | moves to |",
        "|---|---|---|",
        *rows,
        "",
        "`lost` is written by the reaper alone, when the lease has ended by the database's clock.",
        "",
    ]


def _reasons() -> list[str]:
    return [
        "## Reason",
        "",
        "Why an attempt ended. The reason decides what becomes of attempt and job, and which budget pays for another try.",
        "A job that was asked to cancel or to pause while the attempt ended follows that wish instead of the job column.",
        "",
        "| reason | meaning | attempt | job | budget |",
        "|---|---|---|---|---|",
        *(_reason_row(reason, effect) for reason, effect in EFFECTS.items()),
        "",
        "Budgets: `user` failures are tried again only when the spec's `retry.on` names the reason; `infrastructure` ones without",
        "asking, 3 times, and `node` ones 5 times, counted since the last checkpoint progress. When its budget is spent, the job",
        "is `failed`.",
        "",
    ]


def _datasets() -> list[str]:
    rows = [f"| {state} | {_yes(state in SETTLED)} | {_words(DATASET_MOVES.get(state, frozenset()))} |" for state in DatasetState]
    return [
        "## Version of a dataset",
        "",
        "| state | terminal | moves to |",
        "|---|---|---|",
        *rows,
        "",
        "Its files never change once it has left `uploading`. `core/datasets/transitions.py` is the only writer.",
    ]


def _reason_row(reason: Reason, effect: Effect) -> str:
    return f"| {reason} | {effect.meaning} | {effect.attempt} | {effect.job} | {effect.budget or '-'} |"


def _words(targets: frozenset[JobState] | frozenset[AttemptState] | frozenset[DatasetState]) -> str:
    return ", ".join(sorted(targets)) or "-"


def _yes(claim: bool) -> str:
    return "yes" if claim else "-"


if __name__ == "__main__":
    PAGE.write_text(render())
