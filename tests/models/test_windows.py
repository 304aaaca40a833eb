"""Which rows a window holds, in whatever order they arrive, and the scores kept beside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.arrays import Float32s
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import SeriesKey
from driftgauge.models.windows import Window, WindowSpec

SPEC = WindowSpec(window_s=100.0, window_events=5, hop_s=50.0)


def row(i: int, at: float, correct: float = np.nan) -> ResponseRow:
    return ResponseRow(i, f"r{i:03}", "d", "f", at, np.full(2, i, np.float32), 0.5, 0, 1, correct=correct)


def filled(rows: list[ResponseRow]) -> Window:
    window = Window(SPEC, 2)
    for one in rows:
        window.add([one])
    return window


def content(window: Window) -> list[str]:
    held = window.held
    columns = window.event_time[held], window.features[held, 0], window.correct[held]
    return [repr((i, *(float(c[at]) for c in columns))) for at, i in enumerate(window.ids[held])]


def test_a_window_holds_a_half_open_span() -> None:
    window = filled([row(0, 0.0), row(1, 49.9), row(2, 100.0)])
    assert window.ids[window.span(100.0)] == ["r000", "r001"]
    assert window.ids[window.span(150.0)] == ["r002"]


def test_a_window_holds_the_newest_rows_when_there_are_too_many() -> None:
    window = filled([row(i, float(i)) for i in range(8)])
    assert window.ids[window.span(50.0)] == [f"r{i:03}" for i in range(3, 8)]


def test_rows_older_than_a_time_can_be_removed() -> None:
    window = filled([row(i, float(i)) for i in range(8)])
    window.forget(6.0)
    assert window.ids[window.held] == ["r006", "r007"]


@pytest.mark.parametrize("n_at_once", [1, 7, 100])
def test_a_buffer_through_which_many_rows_passed_holds_the_newest(n_at_once: int) -> None:
    rows = [row(i, float(i)) for i in range(2_000)]
    window, late = Window(SPEC, 2), np.random.default_rng(0).integers(0, 20, len(rows))
    order = [rows[i] for i in np.argsort(np.arange(len(rows)) + late, kind="stable")]
    for at in range(0, len(rows), n_at_once):
        window.add(order[at : at + n_at_once])
        assert len(window) <= window.capacity
    assert content(window) == content(filled(rows[-window.capacity :]))
    assert len(window.event_time) < 20 * window.capacity + 2 * n_at_once


def test_a_label_changes_its_own_row_alone() -> None:
    window = filled([row(0, 1.0), row(1, 1.0), row(2, 1.0)])
    assert window.resolve(row(1, 1.0, correct=1.0))
    assert np.isnan(window.correct[[0, 2]]).all()
    assert window.correct[1] == 1.0
    assert not window.resolve(row(7, 1.0, correct=1.0))


@given(st.lists(st.integers(0, 40), max_size=40), st.data())
def test_the_content_of_a_window_depends_on_the_set_of_rows_alone(times: list[int], data: st.DataObject) -> None:
    rows = [row(i, float(at)) for i, at in enumerate(times)]
    shuffled = data.draw(st.permutations(rows))
    in_batches = Window(SPEC, 2)
    for at in range(0, len(shuffled), 7):
        in_batches.add(shuffled[at : at + 7])
    expected = filled(sorted(rows, key=lambda r: (r.event_time, r.id)))
    assert content(filled(shuffled)) == content(expected) == content(in_batches)


@given(st.lists(st.integers(0, 200), max_size=40), st.data())
def test_a_window_that_the_buffer_covers_is_that_of_the_store(times: list[int], data: st.DataObject) -> None:
    rows = [row(i, float(at)) for i, at in enumerate(times)]
    one_by_one, loaded = Window(SPEC, 2), Window(SPEC, 2)
    for one in data.draw(st.permutations(rows)):
        one_by_one.add([one])
    series = SeriesKey("d", "f")
    with MemoryStore().transaction() as memory:
        memory.add_responses(rows)
        loaded.load(memory.window(series, 0.0, np.inf, loaded.capacity + 1))
        for end in np.arange(SPEC.hop_s, 300.0, SPEC.hop_s):
            stored = memory.window(series, end - SPEC.window_s, end, SPEC.window_events).id.tolist()
            for window in (one_by_one, loaded):
                assert window.ids[window.span(end)] == stored or not window.covers(end)
        newest = SPEC.boundary_after(max(times, default=0))
        assert one_by_one.covers(newest) or len(set(times)) < len(times)  # only equal times cost more than capacity


class Doubler:
    """Scores a row with twice its first feature, and counts the rows it was given."""

    def __init__(self) -> None:
        self.n_scored = 0

    def row_scores(self, features: Float32s, domain: str = "") -> Float32s:
        assert domain == "d"
        self.n_scored += len(features)
        return 2 * features[:, :1]


@given(st.lists(st.integers(0, 40), max_size=40), st.data())
def test_kept_scores_belong_to_their_rows_after_rows_come_and_go(times: list[int], data: st.DataObject) -> None:
    rows = data.draw(st.permutations([row(i, float(at)) for i, at in enumerate(times)]))
    window, scorers = Window(SPEC, 2), (Doubler(), Doubler())
    for i, one in enumerate(rows):
        window.add([one])
        if data.draw(st.booleans()):
            span = window.span(data.draw(st.sampled_from([20.0, 50.0])))
            scores = window.scores_of(span, scorers[i // 20], "d")
            assert scores.tolist() == (2 * window.features[span, :1]).tolist()
        if data.draw(st.integers(0, 9)) == 0:
            window.forget(float(data.draw(st.integers(0, 40))))
    assert all(scorer.n_scored <= len(rows) for scorer in scorers)


def test_a_row_is_scored_once_and_never_without_features() -> None:
    window, scorer = Window(SPEC, 2), Doubler()
    window.add([row(0, 0.0), replace(row(1, 1.0), features=np.full(2, np.nan, np.float32)), row(2, 2.0)])
    scores = [window.scores_of(window.span(50.0), scorer, "d") for _ in range(3)][-1]
    assert scores[[0, 2]].tolist() == [[0.0], [4.0]]
    assert np.isnan(scores[1]).all()
    assert scorer.n_scored == 2


def test_a_window_scored_ahead_scores_nothing_more_when_its_scores_are_read() -> None:
    window, scorer = Window(WindowSpec(100.0, 3, 50.0), 2), Doubler()
    window.add([row(i, float(i)) for i in range(5)])
    assert window.score_ahead(scorer, "d") == 3
    assert window.score_ahead(scorer, "d") == 0
    assert window.scores_of(window.span(50.0), scorer, "d").tolist() == (2 * window.features[2:5, :1]).tolist()
    assert scorer.n_scored == 3
