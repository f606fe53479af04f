"""The OpenAPI document is complete, and the server keeps what it says: 500 generated requests, no 5xx."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app
from core.recipes import RECIPES
from core.settings import ApiSettings

Json = dict[str, Any]
WITHOUT_404 = ("/v1/worker/", "/v1/uploads/", "/v1/secrets/")  # an attempt answers 409; of an object that is not here zero bytes are


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Json:
    folder = tmp_path_factory.mktemp("openapi")
    app: FastAPI = create_app(ApiSettings(database_url=SecretStr(f"sqlite:///{folder}/l.db"), data_dir=folder))
    found: Json = json.loads(json.dumps(app.openapi()))
    return found


def _operations(document: Json) -> list[tuple[str, str, Json]]:
    return [(method, path, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]


def test_every_operation_has_a_name_a_summary_and_a_tag(document: Json) -> None:
    operations = _operations(document)
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations:
        assert operation["summary"], (method, path)
        assert operation["tags"], (method, path)


def test_every_versioned_operation_names_its_scheme_and_its_errors(document: Json) -> None:
    for method, path, operation in _operations(document):
        if path.startswith("/v1/"):
            assert operation["security"], (method, path)
            assert {"401", "422", "500", "503"} <= set(operation["responses"]), (method, path)
            assert "404" in operation["responses"] or "{" not in path or path.startswith(WITHOUT_404), (method, path)


def test_every_error_is_a_problem_document(document: Json) -> None:
    for method, path, operation in _operations(document):
        for status, response in operation["responses"].items():
            if status >= "400" and path != "/readyz" and method != "head":
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemDocument"}, (method, path, status)
                assert list(response["content"]) == ["application/problem+json"], (method, path, status)


def test_every_success_is_typed(document: Json) -> None:
    for method, path, operation in _operations(document):
        found = {status: response for status, response in operation["responses"].items() if status < "300"}
        assert found, (method, path)
        for status, response in found.items():
            assert status == "204" or method == "head" or response["content"], (method, path, status)


def test_every_reference_leads_somewhere(document: Json) -> None:
    def check(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].removeprefix("#/components/schemas/") in document["components"]["schemas"], node["$ref"]
            for value in node.values():
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    check(document)


def test_a_job_spec_is_described_whole(document: Json) -> None:
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    spec = document["components"]["schemas"][body["$ref"].rsplit("/", 1)[1]]
    assert spec["discriminator"]["propertyName"] == "recipe"
    assert set(spec["discriminator"]["mapping"]) == set(RECIPES)
