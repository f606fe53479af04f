"""House rules about the ledger: one writer of states, one place that commits, SQL with bound parameters."""

import ast

from tests.house.source import dotted, expect_none, hits, imported, sources

THE_WRITERS = {"core/jobs/transitions.py", "core/datasets/transitions.py"}
THE_COMMITTER = "core/db/engine.py"
# These make rows where there were none: a first state is not a move.
BIRTHS = {"core/jobs/submit.py", "core/jobs/claim.py"}


def _writes_state(node: ast.AST) -> bool:
    """``x.state = ...`` and ``.values(state=...)``."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(target, ast.Attribute) and target.attr == "state" for target in targets)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
        return any(keyword.arg == "state" for keyword in node.keywords)
    return False


def _inserts_state(node: ast.AST) -> bool:
    """``insert(...).values(state=...)`` in one chain."""
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Attribute)
    chain = node.func.value
    while isinstance(chain, ast.Call) and isinstance(chain.func, ast.Attribute) and chain.func.attr != "insert":
        chain = chain.func.value
    return isinstance(chain, ast.Call) and dotted(chain.func).rpartition(".")[2] == "insert"


def test_only_transitions_writes_a_state() -> None:
    files = tuple(source for source in sources("api", "core", "worker") if source.path not in THE_WRITERS)
    guilty = [
        source.where(node)
        for source in files
        for node in source.nodes
        if _writes_state(node) and not (isinstance(node, ast.Call) and source.path in BIRTHS and _inserts_state(node))
    ]
    expect_none(guilty)


def test_only_the_engine_commits() -> None:
    files = tuple(source for source in sources() if source.path != THE_COMMITTER)
    expect_none(hits(files, lambda node: isinstance(node, ast.Call) and dotted(node.func).endswith(".commit")))


def test_sql_is_never_made_from_a_formatted_string() -> None:
    def formats_sql(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and node.args):
            return False
        name = dotted(node.func).rpartition(".")[2]
        return name in {"text", "exec_driver_sql", "literal_column"} and isinstance(node.args[0], ast.JoinedStr | ast.BinOp)

    expect_none(hits(sources("api", "core", "migrations"), formats_sql, excusable=True))


def test_routes_hold_no_sql() -> None:
    routes = tuple(source for source in sources("api") if source.path.startswith("api/routes/"))

    def brings_sql(node: ast.AST) -> bool:
        """Only ``Connection`` may come in, as the type of what is handed on."""
        return any(name.startswith("sqlalchemy") and name not in {"sqlalchemy", "sqlalchemy.Connection"} for name in imported(node))

    expect_none(hits(routes, brings_sql))
