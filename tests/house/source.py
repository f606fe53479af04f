"""The repository's own source as trees, and small questions about it that the house rules ask."""

import ast
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("api", "core", "worker", "trainer", "trainyard", "migrations")
EXCUSE = "# why:"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file; ``path`` is relative to the repository. Each is read and parsed once, whichever rules ask."""

    path: str

    @cached_property
    def text(self) -> str:
        return (ROOT / self.path).read_text()

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """The whole tree, walked once: a dozen rules look at every node of some 300 files."""
        return tuple(ast.walk(self.tree))

    @property
    def room(self) -> str:
        return self.path.split("/", maxsplit=1)[0]

    @property
    def is_main(self) -> bool:
        return self.path.endswith("__main__.py")

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Function))

    def is_excused(self, node: ast.AST) -> bool:
        """Whether the statement's first line, or the comment lines right above it, give a reason after ``# why:``."""
        line = node.lineno - 1  # type: ignore[attr-defined]
        if EXCUSE in self.lines[line]:
            return True
        while line > 0 and self.lines[line - 1].strip().startswith("#"):
            line -= 1
            if EXCUSE in self.lines[line]:
                return True
        return False

    def where(self, node: ast.AST) -> str:
        return f"{self.path}:{node.lineno}"  # type: ignore[attr-defined]


@cache
def tracked_files() -> tuple[str, ...]:
    """Every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return tuple(sorted(path for path in listed if (ROOT / path).is_file()))


@cache
def sources(*rooms: str) -> tuple[Source, ...]:
    """The Python files of these rooms; of every room of the product when none is named."""
    wanted = rooms or ROOMS
    return tuple(_source(path) for path in tracked_files() if path.endswith(".py") and path.split("/")[0] in wanted)


@cache
def _source(path: str) -> Source:
    return Source(path)


def hits(files: tuple[Source, ...], asks: Callable[[ast.AST], bool], *, excusable: bool = False) -> list[str]:
    """Where a node for which ``asks`` is true stands; with ``excusable``, those without a ``# why:`` only."""
    return [source.where(node) for source in files for node in source.nodes if asks(node) and not (excusable and source.is_excused(node))]


def expect_none(guilty: Sequence[str] | Mapping[str, object]) -> None:
    """Fails with one culprit a line."""
    lines = [f"{name}: {value}" for name, value in guilty.items()] if isinstance(guilty, Mapping) else guilty
    assert not guilty, "\n  ".join(["against the rule:", *lines])


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or an attribute chain; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else f"?.{node.attr}"
    return ""


def imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
