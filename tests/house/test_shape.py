"""House rules about size and names: a file is one idea, a function is one thought, a name says what it is about."""

import ast
import re
import statistics
from pathlib import Path

import pytest

from tests.house.source import Function, Source, expect_none, sources, tracked_files

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_MEDIAN_LINES = 12
MAX_P90_LINES = 40
MAX_PARAMETERS = 5
MAX_NESTING = 4  # one more than we aim for: a `with` around a loop is often the clearest text
ATTICS = re.compile(r"(^|_)(utils?|helpers?|managers?|services?|common|misc|crud)$")
EVERYTHING = ("api", "core", "worker", "trainer", "trainyard", "migrations", "tests", "bench", "docs", "install.py")
WRITTEN_BY_HAND = tuple(room for room in EVERYTHING if room != "migrations")  # a migration lists a whole table in one breath
PRODUCT = ("api", "core", "worker", "trainer", "trainyard")
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def test_no_file_is_an_attic() -> None:
    expect_none([path for path in tracked_files() if ATTICS.search(Path(path).stem)])


def test_no_file_is_longer_than_one_idea() -> None:
    expect_none({source.path: len(source.lines) for source in sources(*EVERYTHING) if len(source.lines) > MAX_FILE_LINES})


def test_no_function_is_longer_than_a_screen() -> None:
    long = {f"{source.where(node)} {node.name}": _length(node) for source, node in _functions(WRITTEN_BY_HAND)}
    expect_none({name: lines for name, lines in long.items() if lines > MAX_FUNCTION_LINES})


@pytest.mark.parametrize("room", PRODUCT)
def test_functions_are_short_as_a_habit(room: str) -> None:
    lengths = sorted(_length(node) for _, node in _functions((room,)))
    assert statistics.median(lengths) <= MAX_MEDIAN_LINES
    assert lengths[int(len(lengths) * 0.9)] <= MAX_P90_LINES


def test_no_function_takes_a_crowd_of_positional_parameters() -> None:
    guilty = [
        f"{source.where(node)} {node.name}"
        for source, node in _functions(PRODUCT)
        if _num_positional(node) > MAX_PARAMETERS and not _is_called_by_a_framework(source, node)
    ]
    expect_none(guilty)


def test_no_function_is_nested_deeply() -> None:
    guilty = {f"{source.where(node)} {node.name}": _depth(node) for source, node in _functions(PRODUCT)}
    expect_none({name: depth for name, depth in guilty.items() if depth > MAX_NESTING})


def test_every_module_says_what_it_is() -> None:
    expect_none([source.path for source in sources(*EVERYTHING) if source.lines and not ast.get_docstring(source.tree)])


def _functions(rooms: tuple[str, ...]) -> list[tuple[Source, Function]]:
    return [(source, node) for source in sources(*rooms) for node in source.functions]


def _length(node: Function) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def _num_positional(node: Function) -> int:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    return len([name for name in names if name not in ("self", "cls")])


def _is_called_by_a_framework(source: Source, node: Function) -> bool:
    """FastAPI and typer call these by keyword: ``@router.get(...)``, ``@app.command()`` and the commands of the CLI."""
    return source.path.startswith("trainyard/cli/") or any(isinstance(decorator, ast.Call) for decorator in node.decorator_list)


def _depth(node: ast.AST) -> int:
    """How many blocks stand around the deepest statement; ``elif`` is no deeper than its ``if``."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        own = 1 if isinstance(child, BLOCKS) and not is_elif else 0
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            deepest = max(deepest, own + _depth(child))
    return deepest
