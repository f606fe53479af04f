"""The OpenAPI document: FastAPI's, plus the request bodies that routes read as bytes, and problem+json everywhere.

Routes take their bodies raw, because strict models must be read from JSON text; ``body_of`` says what the text means.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from api.errors import PROBLEM_JSON
from core.recipes import AnyJobSpec

REF = "#/components/schemas/{model}"
PROBLEM = {"$ref": REF.format(model="ProblemDocument")}
_BODIES: dict[str, TypeAdapter[Any]] = {}


def body_of(model: type[BaseModel] | None = None, *, description: str = "") -> dict[str, Any]:
    """What a route passes as ``openapi_extra``; without a model the body is a job spec."""
    adapter: TypeAdapter[Any] = TypeAdapter(model if model is not None else AnyJobSpec)
    name = model.__name__ if model is not None else "JobSpec"
    _BODIES[name] = adapter
    content = {"application/json": {"schema": {"$ref": REF.format(model=name)}}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def bytes_body(description: str) -> dict[str, Any]:
    """``openapi_extra`` of a route that takes raw bytes."""
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def install_openapi(app: FastAPI) -> None:
    """Makes ``app.openapi()`` answer the completed document, built once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        routes=app.routes,
        separate_input_output_schemas=app.separate_input_output_schemas,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in _body_schemas().items():
        schemas.setdefault(name, schema)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for methods in document["paths"].values():
        for operation in methods.values():
            _name_problems(operation["responses"])
    return document


def _name_problems(responses: dict[str, Any]) -> None:
    """Declared as models, errors came out with the media type of the success; what is sent is application/problem+json."""
    for response in responses.values():
        if {"schema": PROBLEM} in response.get("content", {}).values():
            response["content"] = {PROBLEM_JSON: {"schema": PROBLEM}}


def _body_schemas() -> dict[str, Any]:
    inputs = [(name, "validation", adapter.core_schema) for name, adapter in sorted(_BODIES.items())]
    roots, definitions = GenerateJsonSchema(ref_template=REF).generate_definitions(inputs)  # type: ignore[arg-type]
    # A model among the roots is a reference to its own definition; the union of recipes has none and gets its name here.
    named = {name: schema for (name, _mode), schema in roots.items() if schema.get("$ref") != REF.format(model=name)}
    return {**{str(name): schema for name, schema in definitions.items()}, **named}
