"""The OpenAPI 3.1 document, made from the table of operations, the models of their shapes and the event contract.

Owns ``docs/openapi.json``; a test fails when it differs from what this module writes:

python -m driftgauge.agent.api.openapi docs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from driftgauge.agent.api.operating import Rollback
from driftgauge.agent.api.operations import OTHERS, READS, Operation
from driftgauge.agent.api.problem import CONTENT_TYPE, ProblemBody
from driftgauge.agent.api.reading import Answer, answer_of
from driftgauge.agent.api.shapes import CARRIED
from driftgauge.connectors.publishing import contract

Schema: TypeAlias = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_STATUSES = {
    "401": "no token, or an unknown one",
    "403": "a token without the role",
    "404": "it does not exist",
    "422": "the question cannot be used",
    "429": "too many requests",
    "503": "the store cannot be read now",
}
_OF_BODIES = {
    "400": "the body is malformed",
    "408": "the body did not come in time",
    "409": "no agent runs",
    "413": "the body is too large",
    "415": "the content type is not one of these",
}
_DESCRIPTION = "How right deployed language models are, since when, why, and what to do. See docs/api.md."


def document() -> Answer:
    """The document as the server answers it."""
    return answer_of(json.dumps(openapi()).encode())


def openapi() -> Schema:
    """The document.

    >>> openapi()["openapi"]
    '3.1.0'
    """
    operations = (*READS, *OTHERS)
    answers: set[type[BaseModel]] = {made.answer for made in operations if made.answer} | {ProblemBody, Rollback}
    references, described = models_json_schema(
        [(answer, "serialization") for answer in sorted(answers, key=lambda model: model.__name__)],
        ref_template=_REFERENCE,
    )
    named = {model: reference for (model, _), reference in references.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "driftgauge", "version": version("driftgauge"), "description": _DESCRIPTION},
        "paths": {made.path: {made.method.lower(): _operation(made, named)} for made in operations},
        "components": {
            "schemas": {**_linked(described.get("$defs", {})), **dict(_carried())},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(made: Operation, named: Mapping[Any, Schema]) -> Schema:
    content = (
        {"application/json": {"schema": named[made.answer]}}
        if made.answer
        else {"text/event-stream": {"schema": {"type": "string"}}}
    )
    body = {"requestBody": {"required": True, "content": {kind: {"schema": made.body[kind]} for kind in made.body}}}
    return {
        **(body if made.body else {}),
        "summary": made.summary,
        "description": f"{made.description}\n\nNeeds the role `{made.role}`.".strip(),
        "operationId": made.path.removeprefix("/v1/").replace("/", "_").replace("-", "_"),
        "parameters": list(_parameters(made)),
        "responses": {
            "202" if made.body else "200": {"description": "the answer", "content": content},
            **({} if made.body else {"304": {"description": "the client has this answer already"}}),
            **{
                status: {"description": text, "content": {CONTENT_TYPE: {"schema": named[ProblemBody]}}}
                for status, text in {**_STATUSES, **(_OF_BODIES if made.body else {})}.items()
            },
        },
    }


def _parameters(made: Operation) -> Iterator[Schema]:
    described = made.question.model_json_schema(by_alias=True)
    for name, schema in described.get("properties", {}).items():
        is_required = name in described.get("required", ())
        text = schema.pop("description", "")
        yield {
            "name": name,
            "in": "query",
            "required": is_required,
            "description": text,
            "schema": _without_null(schema),
        }


def _without_null(schema: Schema) -> Schema:
    """The schema of a parameter that may be left out: a query has no null."""
    options: list[Schema] = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {key: value for key, value in schema.items() if key not in ("anyOf", "default")} | options[0]


def _carried() -> Iterator[tuple[str, Schema]]:
    """The schemas of the event contract, with their parts as components of their own."""
    for name, schema in contract.schemas().items():
        parts = schema.pop("$defs", {})
        schema.pop("$schema", None)
        for part, content in {**parts, name: schema}.items():
            yield (part if part == name else f"{name}.{part}"), _moved(content, name)


def _linked(schema: Any) -> Any:
    """A schema with references to the outputs that it holds as their topics carry them."""
    if isinstance(schema, dict):
        if CARRIED in schema:
            return {"$ref": _REFERENCE.format(model=schema[CARRIED])}
        return {key: _linked(value) for key, value in schema.items()}
    return [_linked(value) for value in schema] if isinstance(schema, list) else schema


def _moved(schema: Any, name: str) -> Any:
    """A schema whose references lead to the components."""
    if isinstance(schema, dict):
        return {
            key: f"#/components/schemas/{name}.{value.rpartition('/')[2]}" if key == "$ref" else _moved(value, name)
            for key, value in schema.items()
        }
    return [_moved(value, name) for value in schema] if isinstance(schema, list) else schema


def text() -> str:
    """The text of ``openapi.json``."""
    return json.dumps(openapi(), indent=2) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) / "openapi.json").write_text(text())
