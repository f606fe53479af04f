"""House rules about what the repository says: about itself, about where it was made, and what its documents promise."""

import re
import tomllib
from collections import Counter
from pathlib import Path

from docs.states import PAGE, render
from tests.house.source import ROOT, expect_none, sources, tracked_files

TEXTS = {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".json", ".ini", ".cfg", ".sh", ".mako", ""}
# Split, so that this file does not break its own rule.
OUTSIDE_WORDS = re.compile(
    "|".join(
        [
            r"/work/(main|shared|\.library)", r"/tmp/(brief|bash_)", r"/opt/(wheels|py" + r"pi)", r"\.\./shared/", r"\bissue #?\d",
            r"\b(clau" + r"de|anthro" + r"pic|chatg" + r"pt|cop" + r"ilot)\b", r"\bsub-?agents?\b", r"\bAI (agent|assistant|session)",
            r"\bthis session\b", r"\bthe (brief|CEO)\b", r"\bfarm-(bench|studio)\b",
        ]
    ),
    re.IGNORECASE,
)  # fmt: skip
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
DECISION = re.compile(r"docs/decisions/(\d{4})-[a-z0-9-]+\.md")
PROMISE = re.compile(r"^\s*(?:[-*] )?\**(\d{1,2})\.\**\s", re.MULTILINE)
PROMISE_TEST = re.compile(r"def test_promises?_((?:\d\d_)+)")


def test_nothing_tells_where_or_by_whom_it_was_made() -> None:
    expect_none(_lines_with(OUTSIDE_WORDS))


def test_nothing_is_marked_unfinished() -> None:
    expect_none(_lines_with(UNFINISHED))


def test_every_decision_has_a_number_of_its_own() -> None:
    records = [path for path in tracked_files() if path.startswith("docs/decisions/")]
    expect_none([path for path in records if not DECISION.fullmatch(path)])
    numbers = Counter(path.rpartition("/")[2][:4] for path in records)
    expect_none({number: count for number, count in numbers.items() if count > 1})


def test_the_page_of_states_is_the_state_machine() -> None:
    assert PAGE.read_text() == render(), "run: make docs"


def test_the_changelog_and_the_package_have_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[?(\d[^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:1] == [version]


def test_promise_30_each_promise_in_the_readme_has_a_test_named_after_it() -> None:
    promised = _promises((ROOT / "README.md").read_text())
    assert promised, "the README has no section of numbered promises"
    expect_none([f"promise {number} has no test_promise_{number:02}_..." for number in sorted(promised - _tested_promises())])


def test_constraints_pin_every_dependency_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    pinned = {_plain(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    names = {_plain(match.group()) for item in declared if (match := re.match(r"[A-Za-z0-9._-]+", item))}
    expect_none(sorted(names - pinned))


def test_the_documents_link_to_files_that_exist() -> None:
    guilty = []
    for path in tracked_files():
        if path.endswith(".md"):
            for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", (ROOT / path).read_text()):
                if not (ROOT / path).parent.joinpath(target).exists():
                    guilty.append(f"{path}: {target}")
    expect_none(guilty)


def _lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path in tracked_files()
        if Path(path).suffix in TEXTS and path != "tests/house/test_words.py"
        for number, line in enumerate((ROOT / path).read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def _promises(readme: str) -> set[int]:
    """Numbers of the list under the heading that speaks of promises."""
    sections = re.split(r"^(?=#{1,6} )", readme, flags=re.MULTILINE)
    promising = [section for section in sections if "promise" in section.partition("\n")[0].lower()]
    return {int(number) for section in promising for number in PROMISE.findall(section)}


def _tested_promises() -> set[int]:
    return {
        int(number)
        for source in sources("tests")
        for numbers in PROMISE_TEST.findall(source.text)
        for number in numbers.strip("_").split("_")
    }


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
