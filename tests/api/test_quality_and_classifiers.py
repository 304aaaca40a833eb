"""Data quality, with dead letters that show no content; the classifiers of each context."""

from __future__ import annotations

import math

from driftgauge.agent.outlets.versions import contexts_in, stored_versions
from driftgauge.connectors.store.queries import StoreQueries
from tests.api.demo import REJECTED, SHARED
from tests.api.serving import get, get_reply

pytestmark = SHARED


def test_quality_is_that_of_the_newest_period(demo: int, queries: StoreQueries) -> None:
    found = get(demo, "/v1/quality")
    ends = queries.window_ends()
    assert ends is not None
    n_stored, n_predicted = queries.predicted(ends[1] - 86_400, ends[1])
    assert (found["n_stored"], found["n_predicted"]) == (n_stored, n_predicted)
    assert 0 < n_predicted < n_stored
    assert found["end"] == "2026-01-01T01:05:00Z"
    assert sum(part["n"] for part in found["reliability"]) == sum(
        part.n for part in queries.reliability(-math.inf, ends[1], 0.9)
    )


def test_a_span_bounds_the_responses_that_count(demo: int, queries: StoreQueries) -> None:
    found = get(demo, "/v1/quality", from_="2026-01-01T00:10:00Z", to="2026-01-01T00:20:00Z")
    assert found["n_stored"] == queries.predicted(1_767_226_200, 1_767_226_800)[0] == 600
    assert get(demo, "/v1/quality", to="2020-01-01T00:00:00Z")["n_stored"] == 0


def test_dead_letters_are_shown_without_their_content(demo: int) -> None:
    reply = get_reply(demo, "/v1/quality")
    found = reply.json
    assert found["rejected"] == {"malformed": len(REJECTED)}
    assert [one["offset"] for one in found["sample"]] == [*range(24, 4, -1)]
    assert found["sample"][0] == {
        "seq": 25, "reason": "malformed", "detail": "not JSON at 24", "topic": "generations", "partition": 0,
        "offset": 24, "size_bytes": 7,
    }  # fmt: skip
    assert b"hunter2" not in reply.body


def test_labels_that_wait_are_explained(demo: int) -> None:
    pending = get(demo, "/v1/quality")["pending"]
    assert (pending["n"], pending["oldest"]) == (1, "2026-01-01T00:00:00Z")
    assert pending["causes"] == {"case": 1}
    assert pending["examples"] == {"case": ["0-CHAT-1732", "0-chat-1732"]}


def test_classifiers_have_the_stored_versions_and_scores(demo: int, queries: StoreQueries) -> None:
    (found,) = get(demo, "/v1/classifiers")["items"]
    versions = stored_versions(contexts_in(queries))
    assert [version["number"] for version in found["versions"]] == [version["number"] for version in versions]
    assert [version["predicts"] for version in found["versions"]].count(True) == 1
    assert found["model"] == "smollm2-135m-instruct"
    published = [score for score in found["scores"] if score["classifier"] == "published"]
    assert published[0]["domain"] is None
    assert published[0]["n"] == sum(score["n"] for score in published[1:]) > 0
