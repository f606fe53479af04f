"""Holds what comes out of an archive against the rules: its names, how many they are, and how many bytes."""

from dataclasses import dataclass

from core.archives.entries import Entry
from core.archives.rules import ArchiveRules, Names, check_name, shown
from core.errors import BadArchive


@dataclass(slots=True)
class Contents:
    """What came out of an archive."""

    num_files: int = 0
    num_bytes: int = 0


class Tally:
    """Counts what really comes: what a header says of sizes is a claim. BadArchive as soon as a rule is broken."""

    def __init__(self, rules: ArchiveRules) -> None:
        self.contents = Contents()
        self._rules = rules
        self._names = Names(rules.max_entries)

    def note(self, entry: Entry) -> tuple[str, ...]:
        """The parts of the entry's name."""
        parts = check_name(entry.name)
        self._names.take(entry.name, parts, is_folder=entry.is_folder)
        self.contents.num_files += not entry.is_folder
        return parts

    def note_bytes(self, num_bytes: int, entry: Entry) -> None:
        self.contents.num_bytes += num_bytes
        written, rules, read = self.contents.num_bytes, self._rules, entry.archive_bytes.count
        if written > rules.max_bytes:
            raise BadArchive(f"entry {shown(entry.name)}: the archive holds more than {rules.max_bytes} bytes")
        if written > rules.ratio_after_bytes and written > rules.max_ratio * read:
            raise BadArchive(f"entry {shown(entry.name)}: {read} bytes have become more than {rules.max_ratio:g} times as many")
