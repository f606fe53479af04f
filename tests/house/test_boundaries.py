"""House rules about who may do what: read the environment, start processes, execute bytes, swallow an error."""

import ast
from pathlib import Path

from tests.house.source import ROOT, dotted, expect_none, hits, imported, sources

# A rank gets its place from torchrun, in the environment and nowhere else.
READERS_OF_THE_ENVIRONMENT = {"core/settings.py", "trainyard/settings.py", "trainer/parallel/ranks.py"}
STARTERS_OF_PROCESSES = ("worker/launcher.py", "trainyard/up")
STARTING = {
    *("os.system", "os.popen", "os.posix_spawn", "os.spawnv"),
    *("multiprocessing.Process", "multiprocessing.Pool", "multiprocessing.get_context"),
    *("asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell", "concurrent.futures.ProcessPoolExecutor"),
}
EXECUTORS = {
    "eval",
    "exec",
    "compile",
    "torch.load",
    "pickle.load",
    "pickle.loads",
    "marshal.loads",
    "joblib.load",
    "numpy.load",
    "np.load",
}
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
# numpy.load refuses pickles by default; allow_pickle=True would not.
SAFE_WITHOUT_PICKLES = {"numpy.load", "np.load"}


def test_the_environment_is_read_in_one_place_per_room() -> None:
    files = tuple(source for source in sources() if source.path not in READERS_OF_THE_ENVIRONMENT and not source.is_main)
    read = {"os.environ", "os.getenv", "os.environb", "os.putenv"}

    def reads(node: ast.AST) -> bool:
        named = isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & {"environ", "getenv"}
        return bool(named) or (isinstance(node, ast.Attribute) and dotted(node) in read)

    expect_none(hits(files, reads, excusable=True))


def test_only_the_launcher_and_up_start_processes() -> None:
    files = tuple(source for source in sources() if not source.path.startswith(STARTERS_OF_PROCESSES))

    def starts(node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and any(keyword.arg == "shell" for keyword in node.keywords):
            return True
        return "subprocess" in imported(node) or dotted(node) in STARTING

    expect_none(hits(files, starts, excusable=True))


def test_imports_stand_at_the_top() -> None:
    """An import inside a function hides a cycle, unless a ``# why:`` says what start-up would cost."""
    guilty = {
        source.where(node)
        for source in sources()
        for function in source.functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and not source.is_excused(node)
    }
    expect_none(sorted(guilty))


def test_promise_20_api_and_supervisor_never_unpickle_or_execute_bytes() -> None:
    def executes(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return bool(UNPICKLERS & {name.split(".")[0] for name in imported(node)})
        name = dotted(node.func)
        if name in SAFE_WITHOUT_PICKLES:
            return any(keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False" for keyword in node.keywords)
        return name in EXECUTORS

    expect_none(hits(sources("api", "core", "worker", "trainyard"), executes))
    expect_none(hits(sources("trainer"), executes, excusable=True))


def test_no_handler_swallows_every_error() -> None:
    """``except Exception`` raises again, or is the outermost pass of a loop and says ``pass.failed``, or gives a ``# why:``."""

    def swallows(node: ast.AST) -> bool:
        if not isinstance(node, ast.ExceptHandler):
            return False
        names = {"", *()} if node.type is None else {dotted(part) for part in (getattr(node.type, "elts", None) or [node.type])}
        is_broad = node.type is None or bool(names & {"Exception", "BaseException"})
        goes_on = any(isinstance(inner, ast.Raise) for inner in ast.walk(node)) or "pass.failed" in ast.unparse(node)
        return is_broad and not goes_on

    expect_none(hits(sources(), swallows, excusable=True))


def test_signal_handlers_and_threads_start_where_a_reader_expects_them() -> None:
    """Nothing starts at import: no thread, process or handler in a module's top level."""
    started = {"threading.Thread", "Thread", "signal.signal", "atexit.register"}
    guilty = [
        source.where(node)
        for source in sources()
        if not source.is_main
        for statement in source.tree.body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and dotted(node.func) in started
    ]
    expect_none(guilty)


def test_tests_wait_on_events_and_never_skip() -> None:
    """``time.sleep`` is for the bed's ``until`` alone; a test that cannot run here fails, or a ``# why:`` says what it lacks."""
    files = tuple(source for source in sources("tests") if source.path != "tests/bed/waiting.py")

    def lets_time_pass(node: ast.AST) -> bool:
        """``asyncio.sleep(0)`` lets others run and no time pass."""
        if not isinstance(node, ast.Call) or ast.unparse(node).endswith("sleep(0)"):
            return False
        return dotted(node.func) in {"time.sleep", "sleep", "asyncio.sleep"}

    def skips(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and dotted(node) in {
            "pytest.skip", "pytest.importorskip", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.xfail",
        }  # fmt: skip

    expect_none(hits(files, lets_time_pass, excusable=True))
    expect_none(hits(files, skips, excusable=True))


def test_the_product_does_not_lean_on_its_tests() -> None:
    def leans(node: ast.AST) -> bool:
        return bool({"tests", "pytest", "bench"} & {name.split(".")[0] for name in imported(node)})

    expect_none(hits(sources(), leans))
    assert Path(ROOT, "tests").is_dir()
