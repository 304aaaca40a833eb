"""The API answers the same from every database."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from driftgauge.agent.api.operations import READS, Read
from driftgauge.agent.api.problem import Problem
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.connectors.store.sql_store import open_store
from tests.pipeline.logs import make_log, play

QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "/v1/domain": [{"domain": "law"}],
    "/v1/domains": [{}, {"search": "L", "limit": 1}],
    "/v1/estimates/history": [{"domain": "law", "limit": 3}],
    "/v1/responses": [{}, {"domain": "law", "labelled": True}, {"domain": "law", "max_p_correct": 0.7, "limit": 2}],
    "/v1/responses/one": [{"id": "r3"}],
    "/v1/slices": [{"domain": "law"}],
}
"""Where an operation is not named, it is asked without conditions."""


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
def test_both_databases_give_the_same_answers(sqlite_url: str, postgres_url: str) -> None:
    given = [answers(url) for url in (sqlite_url, postgres_url)]
    assert given[0].keys() == given[1].keys()
    for question, answer in given[0].items():
        assert answer == given[1][question], question
    assert sum(answer != 404 and answer.get("items") != [] for answer in given[0].values()) >= 10


def answers(url: str) -> dict[str, Any]:
    """What each operation answers from a store with a log in it, by its question."""
    with closing(open_store(url, topics=Topics())) as store:
        play(store, [make_log(3, 260)])
    with closing(open_queries(url)) as queries:
        return {
            f"{read.path} {asked}": answered(read, asked, queries)
            for read in READS
            for asked in QUESTIONS.get(read.path, [{}])
        }


def answered(read: Read, asked: dict[str, Any], queries: StoreQueries) -> Any:
    try:
        text = read.view(queries, read.question.model_validate(asked), Known()).model_dump_json()
    except Problem as problem:
        return problem.status
    return json.loads(text, parse_float=lambda number: round(float(number), 9))
