"""The OpenAPI document is current, and the server answers as it says to questions that Schemathesis makes up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from jsonschema import Draft202012Validator
from requests import Request, Session
from schemathesis import APIOperation, Case, CheckFunction, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from driftgauge.agent.api import openapi
from driftgauge.agent.api.operations import HEALTH, READS, Read
from driftgauge.agent.outlets.http import MAX_HEADER_BYTES
from tests.api.demo import SHARED
from tests.api.serving import api_on, ask, get

ROOT = Path(__file__).parents[2]
ANSWERED = (*READS, HEALTH)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
N_CASES = 15
KNOWN = {
    "/v1/domain": {"domain": "add"},
    "/v1/estimates/history": {"domain": "add"},
    "/v1/slices": {"domain": "add"},
    "/v1/responses/one": {"id": "0-chat-1732", "text": "true"},
    "/v1/quality": {"from": "2026-01-01T00:00:00Z"},
}
"""Questions that have an answer, of operations that cannot do without one."""


def test_the_document_in_the_docs_is_current() -> None:
    assert (ROOT / "docs/openapi.json").read_text() == openapi.text(), "python -m driftgauge.agent.api.openapi docs"


def test_every_schema_of_the_document_is_a_schema() -> None:
    for schema in openapi.openapi()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_part_that_is_referred_to_is_there() -> None:
    document = openapi.openapi()

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if "$ref" in part:
                yield part["$ref"]
            part = list(part.values())
        if isinstance(part, list):
            for inner in part:
                yield from references(inner)

    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert {*references(document)} <= named


@SHARED
def test_the_server_gives_the_document(demo: int) -> None:
    found = ask(demo, "/openapi.json")
    assert (found.status, found.json) == (200, openapi.openapi())


@pytest.fixture(scope="module")
def described() -> BaseSchema:
    """The document for a server without tokens."""
    return schemathesis.openapi.from_dict({**openapi.openapi(), "security": []})


@pytest.fixture(scope="module")
def unlimited(demo_store: Path) -> Iterator[str]:
    """The address of the API without a limit of requests, which would answer instead of it."""
    with api_on(demo_store, server__requests_per_s=1_000_000) as port:
        yield f"http://127.0.0.1:{port}"


@SHARED
@pytest.mark.parametrize("path", [operation.path for operation in ANSWERED])
def test_answers_follow_the_document(path: str, described: BaseSchema, unlimited: str) -> None:
    known = described[path]["GET"].Case(query=KNOWN.get(path, {}))
    assert known.call_and_validate(base_url=unlimited, checks=CHECKS).status_code == 200
    assert tried(described[path]["GET"], GenerationMode.POSITIVE, unlimited, CHECKS)


@SHARED
@pytest.mark.parametrize("path", [read.path for read in READS if read.question.model_fields])
def test_wrong_questions_are_refused(path: str, described: BaseSchema, unlimited: str) -> None:
    checks = [*CHECKS, negative_data_rejection]
    assert 422 in tried(described[path]["GET"], GenerationMode.NEGATIVE, unlimited, checks)


def tried(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, address: str, checks: list[CheckFunction]
) -> Counter[int]:
    """The statuses of answers to some questions that are made up, the same in every run."""
    seen = Counter[int]()

    @settings(
        max_examples=N_CASES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode))
    def ask_it(case: Case[Any]) -> None:
        url = Request(**case.as_transport_kwargs(base_url=address)).prepare().url or ""
        assume(len(url) < MAX_HEADER_BYTES // 2)  # a longer one does not reach the application
        seen[case.call_and_validate(base_url=address, session=session, checks=checks).status_code] += 1

    with Session() as session:
        ask_it()
    return seen


@SHARED
@pytest.mark.parametrize(
    "read", [read for read in READS if "after" in read.question.model_fields], ids=lambda read: read.path
)
def test_the_pages_of_every_list_are_linked(demo: int, read: Read) -> None:
    found = get(demo, read.path, limit=1, **KNOWN.get(read.path, {}))
    assert len(found["items"]) == 1
    following = get(demo, read.path, limit=1, after=found["next"], **KNOWN.get(read.path, {}))
    assert following["items"] != found["items"]
