"""Which server and which key: what the caller says, then the environment, then the state folder of ``trainyard up``."""

from pathlib import Path

import pytest

from trainyard.errors import NotConfigured
from trainyard.settings import ClientSettings, find_settings, inherited_environment, state_folder

LOCAL = "http://127.0.0.1:8123"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "admin").write_text("ty_local\n")
    (tmp_path / "connection.json").write_text(f'{{"url": "{LOCAL}"}}')
    return tmp_path


def test_the_state_folder_is_enough(home: Path) -> None:
    assert find_settings(environment={"TRAINYARD_HOME": str(home)}) == ClientSettings(url=LOCAL, api_key="ty_local")


def test_variables_win_over_the_state_folder_and_arguments_over_both(home: Path) -> None:
    environment = {"TRAINYARD_HOME": str(home), "TRAINYARD_URL": "https://far/v1/", "TRAINYARD_API_KEY": "ty_far"}
    assert find_settings(environment=environment) == ClientSettings(url="https://far", api_key="ty_far")
    assert find_settings("http://near", "ty_near", environment=environment) == ClientSettings(url="http://near", api_key="ty_near")


def test_a_state_folder_that_is_named_wins_over_variables(home: Path) -> None:
    environment = {"TRAINYARD_URL": "https://far", "TRAINYARD_API_KEY": "ty_far"}
    assert find_settings(home=home, environment=environment) == ClientSettings(url=LOCAL, api_key="ty_local")


def test_promise_24_the_local_key_is_sent_to_no_other_server(home: Path) -> None:
    for environment in ({"TRAINYARD_HOME": str(home), "TRAINYARD_URL": "https://far"}, {"TRAINYARD_HOME": str(home)}):
        with pytest.raises(NotConfigured, match="TRAINYARD_API_KEY"):
            find_settings(None if "TRAINYARD_URL" in environment else "https://far", environment=environment)


def test_what_is_missing_is_said_with_how_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match=r"trainyard up.*TRAINYARD_URL"):
        find_settings(environment={"TRAINYARD_HOME": str(tmp_path)})
    with pytest.raises(NotConfigured, match="must start with http"):
        find_settings("far:80", "k", environment={})


def test_the_key_is_not_shown_by_accident(home: Path) -> None:
    assert "ty_local" not in repr(find_settings(home=home, environment={}))


def test_the_state_folder_follows_the_users_conventions(tmp_path: Path) -> None:
    assert state_folder(environment={"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "trainyard"
    assert state_folder(environment={}) == Path.home() / ".local/share/trainyard"
    assert state_folder(tmp_path, {"TRAINYARD_HOME": "/elsewhere"}) == tmp_path


def test_children_inherit_no_setting_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_API_KEY", "ty_secret")
    monkeypatch.setenv("SOMETHING", "else")
    environment = inherited_environment()
    assert environment["SOMETHING"] == "else"
    assert not [name for name in environment if name.startswith("TRAINYARD_")]
