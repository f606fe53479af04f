"""``runs/search``: conditions joined by AND on attributes, tags, parameters and metrics, and the order of what is found.

The part of MLflow's filter language that its clients send by themselves and scripts use to find runs of their own:
https://mlflow.org/docs/latest/ml/search/search-runs/. Anything else is refused with its text.
"""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from worker.tracking.answers import InvalidValue
from worker.tracking.runs import Run

MAX_FILTER = 8_000
MAX_WILDCARDS = 4  # each multiplies what a match may cost
Value = str | float | int | None
NewestOf = Callable[[Run], dict[str, float]]

_NAME = r'(?:(?P<kind>\w+)\.)?(?:`(?P<ticked>[^`]+)`|"(?P<quoted>[^"]+)"|(?P<plain>[\w.\-/]+))'
_CLAUSE = re.compile(
    _NAME + r"""\s*(?P<op>!=|<=|>=|=|<|>|I?LIKE\b)\s*(?:'(?P<text>[^']*)'|"(?P<text2>[^"]*)"|(?P<number>-?[\d.eE+\-]+))""", re.I
)
_AND = re.compile(r"\s+AND\s+", re.IGNORECASE)
_ORDER = re.compile(_NAME + r"(?:\s+(?P<way>ASC|DESC))?\s*", re.IGNORECASE)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_KINDS = {
    **dict.fromkeys(("tag", "tags"), "tags"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "params"),
    **dict.fromkeys(("metric", "metrics"), "metrics"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run", ""), "attributes"),
}


def search(runs: Sequence[Run], condition: str, order: Sequence[str], newest_of: NewestOf) -> list[Run]:
    """Those of ``runs`` that fulfil it, newest first when no ``order`` is asked for. InvalidValue when it is not understood."""
    tests = _parse(condition, newest_of)
    found = [run for run in runs if all(test(run) for test in tests)]
    found.sort(key=lambda run: run.started_ms, reverse=True)
    for text in reversed(order):
        match = _ORDER.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= MAX_FILTER else None
        if match is None:
            raise InvalidValue(f"Invalid order_by clause '{str(text)[:100]}'")
        get = _getter(match, newest_of)
        # Runs without the value come last, whichever way.
        present = [run for run in found if get(run) is not None]
        present.sort(key=lambda run, get=get: get(run), reverse=(match["way"] or "").upper() == "DESC")  # type: ignore[misc]
        found = present + [run for run in found if get(run) is None]
    return found


def _parse(condition: str, newest_of: NewestOf) -> list[Callable[[Run], bool]]:
    tests = []
    position = 0
    condition = condition.strip()
    while position < len(condition):
        match = _CLAUSE.match(condition, position)
        if match is None:
            raise InvalidValue(f"Invalid clause in filter string: '{condition[position : position + 100]}'")
        tests.append(_test(match, newest_of))
        position = match.end()
        if position < len(condition):
            joint = _AND.match(condition, position)
            if joint is None:
                raise InvalidValue(f"Conditions are joined by AND: '{condition[position : position + 100]}'")
            position = joint.end()
    return tests


def _test(match: re.Match[str], newest_of: NewestOf) -> Callable[[Run], bool]:
    get = _getter(match, newest_of)
    text = match["text"] if match["text"] is not None else match["text2"]
    wanted: Value = text if text is not None else _number(match["number"])
    name = match["op"].upper()
    if name in ("LIKE", "ILIKE"):
        if str(wanted).count("%") > MAX_WILDCARDS:
            raise InvalidValue(f"a pattern has at most {MAX_WILDCARDS} '%'")
        pattern = re.compile(re.escape(str(wanted)).replace("%", ".*"), re.DOTALL | (re.I if name == "ILIKE" else 0))
        return lambda run: pattern.fullmatch(str(get(run))) is not None if get(run) is not None else False

    def compare(run: Run) -> bool:
        value = get(run)
        if value is None:
            return False
        return (
            _COMPARE[name](value, wanted) if isinstance(value, str) == isinstance(wanted, str) else _COMPARE[name](str(value), str(wanted))
        )

    return compare


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidValue(f"'{text[:100]}' is not a number") from None


def _getter(match: re.Match[str], newest_of: NewestOf) -> Callable[[Run], Value]:
    name = match["ticked"] or match["quoted"] or match["plain"]
    kind = _KINDS.get((match["kind"] or "").lower())
    if kind == "tags":
        return lambda run: run.tags.get(name)
    if kind == "params":
        return lambda run: run.params.get(name)
    if kind == "metrics":
        return lambda run: newest_of(run).get(name)
    attributes: dict[str, Callable[[Run], Value]] = {
        "run_id": lambda run: run.run_id,
        "run_name": lambda run: run.name,
        "status": lambda run: run.status,
        "user_id": lambda run: run.user,
        "start_time": lambda run: run.started_ms,
        "created": lambda run: run.started_ms,
        "end_time": lambda run: run.ended_ms,
    }
    if kind == "attributes" and name.lower() in attributes:
        return attributes[name.lower()]
    raise InvalidValue(f"Runs cannot be searched by '{match.group()[:100]}'")
