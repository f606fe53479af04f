"""What is known of each MLflow run beside its points, as a fold over the operations of the journal."""

from dataclasses import dataclass, field
from typing import Any

REPLACED_KEPT = 16
DEFAULT_EXPERIMENT = "Default"


@dataclass(slots=True)
class Run:
    """``series`` says under which name each of its metrics stands in the file; instants are Unix milliseconds."""

    run_id: str
    name: str
    prefix: str
    parent_run_id: str | None
    started_ms: int
    user: str = ""
    status: str = "RUNNING"
    ended_ms: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, list[str]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    series: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class LoggedModel:
    """Text and times of a model that a script has logged; its files are artifacts."""

    model_id: str
    name: str
    model_type: str
    source_run_id: str
    status: str
    created_ms: int
    updated_ms: int
    tags: dict[str, str]
    params: dict[str, str]


@dataclass(slots=True)
class Runs:
    """All runs of the script by id, the job's own first, and who owns each series and each prefix."""

    by_id: dict[str, Run] = field(default_factory=dict)
    models: dict[str, LoggedModel] = field(default_factory=dict)
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)
    prefixes: set[str] = field(default_factory=set)
    experiment: str = DEFAULT_EXPERIMENT
    num_texts: int = 0
    text_bytes: int = 0

    def apply(self, operation: dict[str, Any]) -> None:
        """One line of the journal. KeyError, TypeError or ValueError when it is none of ours; nothing is changed then."""
        kind = operation["op"]
        if kind == "run":
            self._create(Run(**{name: operation[name] for name in ("run_id", "name", "prefix", "parent_run_id", "started_ms", "user")}))
        elif kind == "experiment":
            self.experiment = str(operation["name"])
        elif kind == "model":
            model = LoggedModel(**operation["model"])
            self.models[model.model_id] = model
        else:
            run = self.by_id[operation["run_id"]]
            if kind == "status":
                run.status, run.ended_ms, run.name = operation["status"], operation["ended_ms"], operation["name"]
            elif kind == "params":
                self._set_params(run, operation["items"])
            elif kind == "tags":
                self._set_tags(run, operation["items"])
            elif kind == "untag":
                run.tags.pop(operation["key"], None)
            elif kind == "series":
                run.series[operation["key"]] = operation["name"]
                self.owners[operation["name"]] = (run.run_id, operation["key"])
            else:
                raise ValueError(f"unknown operation {kind!r}")

    def _create(self, run: Run) -> None:
        self.by_id.setdefault(run.run_id, run)
        self.prefixes.add(run.prefix)

    def _set_params(self, run: Run, items: dict[str, str]) -> None:
        for key, value in items.items():
            before = run.params.get(key)
            self._count(key, value, None if before is None else "")
            if before is not None:
                replaced = run.replaced.setdefault(key, [])
                replaced.append(before)
                if len(replaced) > REPLACED_KEPT:
                    self.text_bytes -= len(replaced.pop(0))
            run.params[key] = value

    def _set_tags(self, run: Run, items: dict[str, str]) -> None:
        for key, value in items.items():
            self._count(key, value, run.tags.get(key))
            run.tags[key] = value

    def _count(self, key: str, value: str, dropped: str | None) -> None:
        """``dropped`` is the value that makes room for this one; None for a new key."""
        self.num_texts += dropped is None
        self.text_bytes += len(value) + (len(key) if dropped is None else -len(dropped))
