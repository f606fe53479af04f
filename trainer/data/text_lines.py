"""Lines of a text file that should be UTF-8: a byte that is not is named with its place instead of ending the reading."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from trainer.data.findings import Findings

LOOK_AHEAD = 4096
_WIDE_MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", codecs.BOM_UTF32_BE: "UTF-32"}


class TextLines:
    """The lines of a file with their line ends, for ``csv`` and ``json``; a byte order mark at the start is left out."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._damage: str | None = None

    def __iter__(self) -> Iterator[str]:
        offset = 0
        for line in self._file:
            text = line.removeprefix(codecs.BOM_UTF8) if offset == 0 else line
            try:
                yield text.decode("utf-8")
            except UnicodeDecodeError as error:
                self._note(text, error, offset + len(line) - len(text))
                yield text.decode("utf-8", "replace")
            offset += len(line)

    def take_damage(self) -> str | None:
        """What was wrong with the bytes of the lines since the last call."""
        damage, self._damage = self._damage, None
        return damage

    def _note(self, line: bytes, error: UnicodeDecodeError, offset: int) -> None:
        if self._damage is not None:
            return
        self._damage = f"byte {offset + error.start} (0x{line[error.start]:02x}) is not UTF-8{_guess(line, error.start)}"


def sound_lines(path: Path, name: str, findings: Findings) -> Iterator[tuple[int, str]]:
    """Each line with its end and its number from 1. One that is not UTF-8 is a bad row; a file that is no such text is a fatal finding."""
    if not sound_text(path, name, findings):
        return
    with path.open("rb") as file:
        lines = TextLines(file)
        for number, line in enumerate(lines, 1):
            damage = lines.take_damage()
            if damage is None:
                yield number, line
            else:
                findings.bad_row(damage, file=name, row=number)


def _guess(line: bytes, position: int) -> str:
    """Text of old Windows programs reads as cp1252, with a letter where UTF-8 sees a broken byte."""
    try:
        character = line[position : position + 1].decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return f"; in cp1252 (Windows) it would be {character!r}: save the file as UTF-8" if character.isprintable() else ""


def sound_text(path: Path, name: str, findings: Findings) -> bool:
    """Whether the start of the file is text in a one-byte encoding; a fatal finding says what it is instead."""
    with path.open("rb") as file:
        start = file.read(LOOK_AHEAD)
    if not start.strip():
        findings.fatal("the file is empty", file=name)
        return False
    for mark, encoding in _WIDE_MARKS.items():
        if start.startswith(mark):
            findings.fatal(f"the file is {encoding}; save it as UTF-8", file=name)
            return False
    if b"\0" in start:
        findings.fatal(f"the file is not text: byte {start.index(0)} is zero", file=name)
        return False
    return True
