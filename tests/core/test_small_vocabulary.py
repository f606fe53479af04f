"""Ids, clocks, settings, masking, errors: the small words that every room uses."""

import re
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

import core.errors
from core.clock import FakeClock, SystemClock
from core.ids import new_id
from core.logs import mask
from core.settings import ApiSettings, SettingsError, WorkerSettings


def test_ids_name_their_kind_and_sort_by_birth(monkeypatch: pytest.MonkeyPatch) -> None:
    born = iter([1, 2, 2**40])
    monkeypatch.setattr(time, "time_ns", lambda: next(born) * 1_000_000)
    ids = [new_id("job") for _ in range(3)]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{26}", one) for one in ids)


def test_ids_of_one_instant_differ() -> None:
    assert len({new_id("att") for _ in range(10_000)}) == 10_000


def test_a_fake_clock_moves_when_told_and_the_real_one_is_aware() -> None:
    clock = FakeClock()
    before = clock.now()
    assert clock.now() == before
    assert SystemClock().now().utcoffset() is not None


def test_promise_24_keys_tokens_and_passwords_are_masked() -> None:
    text = mask("key ty_abcdEFGH_0123456789abcdef and lease_AbCdEf0123456789-_AbCdEf at postgresql+psycopg://ty:pa55@db/x")
    assert text == "key ty_abcdEFGH_*** and lease_*** at postgresql+psycopg://ty:***@db/x"
    assert (
        mask("GET http://s3/b/k?X-Amz-Date=1&X-Amz-Signature=0123abcd HTTP/1.1")
        == "GET http://s3/b/k?X-Amz-Date=1&X-Amz-Signature=*** HTTP/1.1"
    )


def test_promise_24_settings_do_not_print_their_secrets() -> None:
    settings = ApiSettings(database_url=SecretStr("postgresql+psycopg://ty:pa55@db/x"), broker_url=SecretStr("redis://:pa55@r/0"))
    assert "pa55" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert "s3cret" not in repr(WorkerSettings(worker_token=SecretStr("s3cret")))


def test_wrong_settings_are_named_by_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_PORT", "http")
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", "mysql://x")
    with pytest.raises(SettingsError, match=r"TRAINYARD_DATABASE_URL: .*\n?.*TRAINYARD_PORT") as caught:
        ApiSettings.from_environment()
    assert len(str(caught.value).splitlines()) == 2


def test_a_secret_may_come_from_a_file_and_a_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trainyard_worker_token").write_text("ty_from_file\n")
    monkeypatch.setenv("TRAINYARD_SECRETS_DIR", str(tmp_path))
    assert WorkerSettings.from_environment().worker_token.get_secret_value() == "ty_from_file"
    monkeypatch.setenv("TRAINYARD_WORKER_TOKEN", "ty_from_variable")
    assert WorkerSettings.from_environment().worker_token.get_secret_value() == "ty_from_variable"
    monkeypatch.setenv("TRAINYARD_SECRETS_DIR", str(tmp_path / "absent"))
    with pytest.raises(SettingsError, match="TRAINYARD_SECRETS_DIR"):
        WorkerSettings.from_environment()


@pytest.mark.parametrize(
    ("host", "is_public"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True), ("10.0.0.3", True), ("node", True)],
)
def test_promise_22_anything_but_loopback_is_public(host: str, is_public: bool) -> None:
    assert ApiSettings(host=host).is_public is is_public


def test_a_worker_needs_its_token_and_a_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="TRAINYARD_WORKER_TOKEN"):
        WorkerSettings.from_environment()
    monkeypatch.setenv("TRAINYARD_WORKER_TOKEN", "ty_x")
    monkeypatch.setenv("TRAINYARD_API_URL", "node:8000")
    with pytest.raises(SettingsError, match="http://"):
        WorkerSettings.from_environment()


def test_every_error_has_a_word_of_its_own_and_stands_in_the_drawn_tree() -> None:
    found = list(_descendants(core.errors.TrainyardError))
    words = [error.code for error in found]
    assert len(set(words)) == len(words)
    assert core.errors.__doc__
    for error in found:
        assert re.search(rf"[├└]── {error.__name__} +{error.status}\b", core.errors.__doc__), error
        assert error.__doc__, error


def _descendants(base: type[core.errors.TrainyardError]) -> list[type[core.errors.TrainyardError]]:
    return [found for child in base.__subclasses__() for found in (child, *_descendants(child))]
