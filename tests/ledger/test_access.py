"""Keys: recognised by their hash, shown once, refused all alike."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core.access.keys import any_active_key, authenticate, create_key, list_keys, note_use, revoke_key
from core.access.projects import ensure_project
from core.access.secret import ALPHABET, mint, parse
from core.db.tables import api_keys
from core.errors import NotFound, Unauthenticated
from core.wire.keys import CreatedKey, Scope
from tests.ledger.world import World


def _create(world: World, **fields: object) -> CreatedKey:
    wanted = {"project": "default", "name": "mine", "scopes": (Scope.SUBMIT,), **fields}
    with world.db.begin() as tx:
        return create_key(tx, now=world.now, **wanted)  # type: ignore[arg-type]


def test_a_key_opens_its_project_with_its_scopes(world: World) -> None:
    key = _create(world, scopes=(Scope.WORKER, Scope.READ, Scope.READ))
    with world.db.begin() as tx:
        caller = authenticate(tx, key.key, world.now)
    assert (caller.project_id, caller.project_name, caller.key_id) == (world.project, "default", key.id)
    assert caller.scopes == {Scope.READ, Scope.WORKER}
    assert key.scopes == [Scope.READ, Scope.WORKER]


def test_promise_24_the_ledger_keeps_a_hash_and_nothing_of_the_secret(world: World) -> None:
    key = _create(world)
    with world.db.read() as tx:
        row = tx.execute(select(api_keys)).one()
    secret = key.key.split("_")[2]
    assert secret not in repr(row)
    assert key.key not in repr(key)
    assert len(row.sha256) == 64


def test_wrong_unknown_revoked_and_expired_keys_are_refused_with_one_answer(world: World) -> None:
    revoked, expired = _create(world), _create(world, expires_at=world.now + timedelta(hours=1))
    good = _create(world)
    with world.db.begin() as tx:
        revoke_key(tx, world.project, revoked.id, now=world.now)
    world.clock.advance(timedelta(hours=1))
    id_of_good = parse(good.key)
    assert id_of_good is not None
    other = mint().text
    borrowed_id = f"ty_{id_of_good.public_id}_{other.split('_')[2]}"
    answers = set()
    for text in (revoked.key, expired.key, other, borrowed_id, good.key[:-1] + "#", "", "ty_", "Bearer", "\u00e9" * 60):
        with world.db.begin() as tx, pytest.raises(Unauthenticated) as caught:
            authenticate(tx, text, world.now)
        answers.add((type(caught.value), caught.value.message, caught.value.param))
    assert len(answers) == 1
    with world.db.begin() as tx:
        authenticate(tx, good.key, world.now)


def test_the_last_use_is_noted_once_a_minute(world: World) -> None:
    key = _create(world)

    def used() -> object:
        with world.db.begin() as tx:
            note_use(tx, authenticate(tx, key.key, world.now).key_id, world.now)
            return list_keys(tx, world.project).data[0].last_used_at

    first = used()
    world.clock.advance(timedelta(seconds=59))
    assert used() == first == world.now - timedelta(seconds=59)
    world.clock.advance(timedelta(seconds=1))
    assert used() == world.now


def test_keys_are_listed_newest_first_without_their_secrets(world: World) -> None:
    made = [_create(world, name=str(number)) for number in range(3)]
    with world.db.read() as tx:
        first = list_keys(tx, world.project, limit=2)
        second = list_keys(tx, world.project, limit=2, after=first.last_id)
    assert {key.id for key in first.data + second.data} == {key.id for key in made}
    assert "key" not in type(first.data[0]).model_fields


def test_another_projects_key_cannot_be_revoked(world: World) -> None:
    key = _create(world, project="other")
    with world.db.begin() as tx, pytest.raises(NotFound):
        revoke_key(tx, world.project, key.id, now=world.now)
    with world.db.begin() as tx:
        assert authenticate(tx, key.key, world.now).project_name == "other"


def test_revoking_twice_keeps_the_first_instant(world: World) -> None:
    key = _create(world)
    with world.db.begin() as tx:
        first = revoke_key(tx, world.project, key.id, now=world.now)
    world.clock.advance(timedelta(days=1))
    with world.db.begin() as tx:
        assert revoke_key(tx, world.project, key.id, now=world.now) == first


def test_an_active_key_is_one_that_opens_something(world: World) -> None:
    def any_active() -> bool:
        with world.db.read() as tx:
            return any_active_key(tx, world.now)

    assert not any_active()
    key = _create(world)
    _create(world, expires_at=world.now)
    assert any_active()
    with world.db.begin() as tx:
        revoke_key(tx, world.project, key.id, now=world.now)
    assert not any_active()


def test_a_project_is_made_once(world: World) -> None:
    with world.db.begin() as tx:
        assert ensure_project(tx, "default", world.now) == world.project
        assert ensure_project(tx, "another", world.now) != world.project


def test_a_minted_key_has_the_announced_shape_and_is_recognised() -> None:
    secret = mint()
    assert parse(secret.text) == secret
    assert len(secret.text) == 3 + 8 + 1 + 43 + 6
    assert secret.text not in repr(secret)
    assert len({mint().text for _ in range(100)}) == 100


@given(place=st.integers(3, 60), other=st.sampled_from(ALPHABET + "_-"))
def test_one_wrong_character_is_noticed_without_the_ledger(place: int, other: str) -> None:
    text = mint().text
    changed = text[:place] + other + text[place + 1 :]
    assert changed == text or parse(changed) is None
