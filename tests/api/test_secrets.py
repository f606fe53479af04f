"""Secrets of a project: written and never read back, sealed in the ledger, opened for the attempt that names them alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from core.access.vault import CannotOpen, Vault
from core.db.secret_tables import secrets
from core.wire.keys import Scope
from tests.api.serving import Client, Json, Served, serving

MASTER = "an operator's key of more than thirty-two letters"
VALUE = "correct-horse-battery"
SCRIPT: Json = {"recipe": "script", "code": {"files": {"train.py": ""}}, "entrypoint": "train.py"}


@pytest.fixture
def sealed(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """A server with a master key, on each database."""
    with serving(database_url, tmp_path, master_key=MASTER) as found:
        yield found


def put(client: Client, name: str, value: str = VALUE) -> Json:
    answer = client.put(f"/v1/secrets/{name}", json={"value": value})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def test_a_secret_is_set_listed_by_name_and_removed(sealed: Served) -> None:
    client = sealed.client(Scope.SUBMIT, Scope.READ)
    assert put(client, "API_TOKEN").keys() == {"object", "name", "created_at", "updated_at"}
    put(client, "ANOTHER")
    put(client, "API_TOKEN", "another-value")
    listed = client.get("/v1/secrets")
    assert [item["name"] for item in listed.json()["data"]] == ["ANOTHER", "API_TOKEN"]
    assert "value" not in listed.text.replace("values", "")
    assert client.delete("/v1/secrets/ANOTHER").status_code == 204
    assert client.delete("/v1/secrets/ANOTHER").status_code == 404


def test_the_ledger_holds_no_value(sealed: Served) -> None:
    put(sealed.client(), "API_TOKEN")
    with sealed.state.db.read() as tx:
        stored = tx.scalars(select(secrets.c.sealed)).one()
    assert VALUE.encode() not in stored


def test_another_project_neither_sees_nor_removes_nor_uses_it(sealed: Served) -> None:
    put(sealed.client(), "API_TOKEN")
    other = sealed.client(project="other")
    assert other.get("/v1/secrets").json()["data"] == []
    assert other.delete("/v1/secrets/API_TOKEN").status_code == 404
    refused = other.post("/v1/jobs", json={**SCRIPT, "secrets": ["API_TOKEN"]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/secrets/0"


def test_a_claim_carries_the_values_that_its_spec_names_and_no_other(sealed: Served) -> None:
    client, node = sealed.client(), sealed.node()
    put(client, "API_TOKEN")
    put(client, "UNUSED", "never-handed-over")
    assert client.post("/v1/jobs", json={**SCRIPT, "secrets": ["API_TOKEN"]}).status_code == 201
    claim = node.claim(node.register())
    assert claim is not None
    assert claim["secrets"] == {"API_TOKEN": VALUE}
    assert VALUE not in client.get(f"/v1/jobs/{claim['job_id']}").text


def test_a_value_that_does_not_open_does_not_hold_up_the_claim(sealed: Served) -> None:
    client, node = sealed.client(), sealed.node()
    put(client, "API_TOKEN")
    client.post("/v1/jobs", json={**SCRIPT, "secrets": ["API_TOKEN"]})
    with sealed.state.db.begin() as tx:
        tx.execute(update(secrets).values(sealed=b"damaged beyond repair, and long enough"))
    claim = node.claim(node.register())
    assert claim is not None
    assert claim["secrets"] == {}


def test_without_a_master_key_nothing_is_taken(served: Served) -> None:
    answer = served.client().put("/v1/secrets/API_TOKEN", json={"value": VALUE})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_master_key")
    assert "TRAINYARD_MASTER_KEY" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("name", "body"), [("1X", {"value": VALUE}), ("X", {"value": "short"}), ("X", {}), ("X" * 65, {"value": VALUE})])
def test_a_bad_name_or_value_is_refused_and_not_repeated(sealed: Served, name: str, body: Json) -> None:
    answer = sealed.client().put(f"/v1/secrets/{name}", json=body)
    assert answer.status_code in (404, 422)
    assert VALUE not in answer.text
    assert "'short'" not in answer.text


def test_a_sealed_value_opens_at_its_own_place_with_its_own_key_alone() -> None:
    vault = Vault(MASTER)
    stored = vault.seal(VALUE, "one/NAME")
    assert vault.open(stored, "one/NAME") == VALUE
    assert vault.seal(VALUE, "one/NAME") != stored
    for other, place, value in ((Vault(MASTER + "x"), "one/NAME", stored), (vault, "two/NAME", stored), (vault, "one/NAME", stored[:-1])):
        with pytest.raises(CannotOpen):
            other.open(value, place)
