"""From what was typed to what a predictor takes: a file, a folder of files, a literal text, or standard input."""

import sys
from pathlib import Path

from trainer.predict.predictor import BadInput

STDIN = "-"


def find_inputs(given: str, suffixes: tuple[str, ...], *, or_texts: bool = False) -> list[Path] | list[str]:
    """Files when the predictor takes files of these suffixes, else texts. Raises BadInput when there is nothing to predict.

    ``or_texts``: it takes both, and what names no such file is a text.
    """
    if not suffixes or (or_texts and not _names_files(given, suffixes)):
        return find_texts(given)
    return find_files(given, suffixes)


def find_files(given: str, suffixes: tuple[str, ...]) -> list[Path]:
    if given == STDIN:
        return [_one_file(Path(line), suffixes) for line in _lines(sys.stdin.read(), "standard input")]
    path = Path(given)
    if not path.is_dir():
        return [_one_file(path, suffixes)]
    found = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in suffixes)
    if not found:
        raise BadInput(f"{given} has no file that ends in {', '.join(suffixes)}")
    return found


def find_texts(given: str) -> list[str]:
    """The lines of a text file or of standard input, of every .txt file of a folder, or what was typed itself."""
    if given == STDIN:
        return _lines(sys.stdin.read(), "standard input")
    path = Path(given)
    if _exists(path) and path.is_dir():
        return [line for file in find_files(given, (".txt",)) for line in _lines(_text_of(file), str(file))]
    if _exists(path):
        return _lines(_text_of(path), given)
    if not given.strip():
        raise BadInput("the text is empty")
    return [given]


def _exists(path: Path) -> bool:
    """A long text is no path, and asking for it is an error of the file system's."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _names_files(given: str, suffixes: tuple[str, ...]) -> bool:
    path = Path(given)
    if not _exists(path):
        return False
    return any(file.suffix.lower() in suffixes for file in (path.rglob("*") if path.is_dir() else [path]))


def _one_file(path: Path, suffixes: tuple[str, ...]) -> Path:
    if not _exists(path):
        raise BadInput(f"{path} does not exist")
    if path.suffix.lower() not in suffixes:
        raise BadInput(f"{path} does not end in {', '.join(suffixes)}")
    return path


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text: byte {error.start}") from None


def _lines(text: str, source: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadInput(f"{source} holds no text")
    return lines
