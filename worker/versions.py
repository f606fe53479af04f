"""Which software runs here, without importing it."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of


def version() -> str:
    return version_of("trainyard")


def torch_version() -> str | None:
    try:
        return version_of("torch")
    except PackageNotFoundError:
        return None
