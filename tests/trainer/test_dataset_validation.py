"""dataset-validation as a job: what it leaves behind, and a report page in which nothing can run."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from core.manifest import verify
from core.profile import PROFILE, REPORT, Profile
from core.recipes import RECIPES
from core.recipes.dataset_validation import Data
from core.states import Reason
from tests.trainer.launching import Launch
from tests.trainer.made_up_files import picture, pictures, reviews, write_csv, write_json_lines
from trainer.profile.plots import draw
from trainer.profile.profiling import profile_dataset
from trainer.profile.report import render

EVIL = '<script>alert("1")</script>'
SPEC: dict[str, Any] = {"recipe": "dataset-validation", "dataset": {"path": "/unused"}}


class Page(HTMLParser):
    """Which elements a page has, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def launched(launch: Launch, tmp_path: Path) -> Launch:
    """Launches on a folder that a test fills."""
    launch.data_dir = tmp_path / "dataset"
    launch.data_dir.mkdir()
    return launch


def test_a_sound_dataset_gets_a_profile_a_page_and_plots(launched: Launch) -> None:
    assert launched.data_dir is not None
    pictures(launched.data_dir, 12, part="train")
    pictures(launched.data_dir, 4, part="test", start=20)
    attempt = launched(SPEC, num_ranks=1).run()
    attempt.expect(Reason.COMPLETED)
    result = attempt.result()
    assert result is not None
    assert result.metrics == {"valid": 1, "num_rows": 32, "num_findings": 0, "num_warnings": 0}
    assert attempt.metrics()[-1].values == result.metrics
    assert result.metrics.keys() <= set(RECIPES["dataset-validation"].metrics)

    manifest = verify(attempt.run_dir.artifacts)
    assert [file.path for file in manifest.files] == ["plots/labels.svg", "plots/media.svg", PROFILE, REPORT]
    profile = Profile.model_validate_json((attempt.run_dir.artifacts / PROFILE).read_bytes())
    assert profile.splits == {"train": 24, "test": 8}
    assert attempt.progress().total_steps == 32


def test_an_invalid_dataset_is_a_result_and_no_failure(launched: Launch) -> None:
    assert launched.data_dir is not None
    write_json_lines(launched.data_dir / "a.jsonl", [*reviews(12), {"text": "", "label": "bad"}, {"text": "x"}])
    attempt = launched({**SPEC, "data": {"task": "text-classification"}}, num_ranks=1).run()
    attempt.expect(Reason.COMPLETED)
    result = attempt.result()
    assert result is not None
    assert (result.metrics["valid"], result.metrics["num_findings"]) == (0, 2)
    found = json.loads((attempt.run_dir.artifacts / PROFILE).read_text())
    assert found["valid"] is False
    assert [finding["row"] for finding in found["findings"]] == [13, 14]


def test_a_job_that_is_asked_to_stop_in_the_middle_leaves_no_profile(launched: Launch) -> None:
    assert launched.data_dir is not None
    large = picture(0, (9, 9, 9), (2000, 2000))
    for number in range(200):
        folder = launched.data_dir / ("red", "blue")[number % 2]
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(large)
    attempt = launched(SPEC, num_ranks=1).start()
    attempt.wait_for(lambda: attempt.run_dir.progress.exists() and attempt.progress().step > 0, "the first images")
    attempt.run_dir.ask_to_stop("cancel")
    attempt.terminate()
    attempt.wait().expect(Reason.CANCELLED)
    assert attempt.progress().step < 200
    result = attempt.result()
    assert result is not None
    assert result.outcome == "stopped"
    assert list(attempt.run_dir.artifacts.iterdir()) == []


@pytest.fixture
def page(tmp_path: Path) -> str:
    """The report on a table whose names, labels and findings are all attempts to run something."""
    rows = [[f"{number}", EVIL if number % 2 else "ok"] for number in range(30)]
    (tmp_path / "dataset").mkdir()
    write_csv(tmp_path / "dataset" / f"{EVIL.replace('/', '')}.csv", [['"><img src=x onerror=alert(1)>', "label"], *rows, ["1"]])
    profile = profile_dataset(tmp_path / "dataset", Data(), lambda done, total: None)
    return render(profile, draw(profile, tmp_path / "plots"))


def test_nothing_in_a_page_can_run_or_be_loaded_from_elsewhere(page: str) -> None:
    parsed = Page(page)
    tags = {tag for tag, _ in parsed.elements}
    assert tags <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "span", "div"),
        *("table", "tr", "th", "td", "ul", "li", "p", "img"),
    }
    assert all(not name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    sources = [attributes["src"] or "" for tag, attributes in parsed.elements if tag == "img"]
    assert len(sources) == 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "http" not in page.replace("data:", "")


def test_a_page_shows_what_it_was_given_as_text(page: str) -> None:
    text = Page(page).text
    assert EVIL in text
    assert "<script" not in page
    assert "1 cells where the header has 2" in text
    assert "invalid" in text


def test_the_same_profile_gives_the_same_page(tmp_path: Path) -> None:
    pages = []
    for number in range(2):
        profile = profile_dataset(pictures(tmp_path / "dataset"), Data(), lambda done, total: None)
        pages.append(render(profile, draw(profile, tmp_path / f"plots{number}")))
    assert pages[0] == pages[1]


def test_labels_in_any_script_are_drawn(tmp_path: Path) -> None:
    rows = [[str(number), ("日本語", "русский", "a $x$ b", "bell \x07")[number % 4]] for number in range(24)]
    write_csv(tmp_path / "dataset" / "a.csv", [["größe", "label"], *rows])
    profile = profile_dataset(tmp_path / "dataset", Data(), lambda done, total: None)
    plots = draw(profile, tmp_path / "plots")
    assert "日本語" in (tmp_path / "plots" / "labels.svg").read_text()
    assert "русский" in Page(render(profile, plots)).text
