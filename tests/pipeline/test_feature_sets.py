"""A store whose rows have one set of features serves an agent that computes another."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.classify.fits import KINDS
from driftgauge.models.events import Context, Event, Generation, Label, Rejected, Signal, Tick
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.outputs import Estimate, Prediction
from driftgauge.models.signals.feature_sets import FeatureSpec
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.logs import SETTINGS, START, comparable, make_log, play, remembered

PUBLISHED, EXTENDED = FeatureSpec("published"), FeatureSpec("extended")
WITH_SEGMENTS = FeatureSpec("published", segments=True)
LOG = make_log(3, 120)
HALF = 110


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.models.classify.fit_kinds._TREES", 5)


def configured(spec: FeatureSpec, **committee: object) -> PipelineSettings:
    settings = CommitteeSettings(min_labels=3, refit_every_labels=40, gate_min_labels=5)
    committee_settings = replace(settings, **committee)
    return replace(SETTINGS, features=spec, committee=committee_settings)


@pytest.mark.parametrize(
    ("champion", "before", "after"),
    [
        *((kind, PUBLISHED, EXTENDED) for kind in KINDS),
        *((kind, EXTENDED, PUBLISHED) for kind in ("logistic_regression", "random_forest")),
        *((kind, WITH_SEGMENTS, EXTENDED) for kind in ("logistic_regression", "random_forest")),
    ],
)
def test_a_change_of_the_set_loses_nothing_wherever_batches_end(
    champion: str, before: FeatureSpec, after: FeatureSpec
) -> None:
    challenger = "logistic_regression" if champion != "logistic_regression" else "random_forest"
    old, new = (configured(spec, champion=champion, challengers=(challenger,)) for spec in (before, after))
    straight, restarted = MemoryStore(), MemoryStore()
    play(straight, [LOG[:HALF]], old)
    play(restarted, [LOG[:HALF]], old)
    outputs = play(straight, [LOG[HALF:]], new)
    again = play(restarted, [LOG[HALF : HALF + 20]], new) + play(restarted, [LOG[HALF + 20 :]], new)
    assert comparable(again) == comparable(outputs)
    assert remembered(straight) == remembered(restarted)
    predictions = [o.p_correct for o in outputs if isinstance(o, Prediction) and o.p_correct is not None]
    assert len(predictions) > 10
    assert np.isfinite(predictions).all()
    assert any(isinstance(o, Estimate) and o.status == "ok" for o in outputs)
    with straight.transaction() as memory:
        state = State.resume(new, memory)
        rows = memory.responses([f"r{i}" for i in range(120)])
    assert {len(row.features) for row in rows.values()} == {before.width, after.width}
    fits = [context.committee.champion.fits for context in state.contexts.values()]
    assert {fit.width for fit in fits if fit} == {after.width}
    shared = [after.names.index(name) for name in before.names if name in after.names]
    for domain in state.domains.values():
        for name, found in zip(domain.window.ids, domain.window.features, strict=False):
            if len(rows[name].features) == before.width:
                assert np.isnan(np.delete(found, shared)).all()
            else:
                np.testing.assert_array_equal(found, rows[name].features)


def test_old_rows_are_learned_and_their_windows_estimated_again_after_a_change() -> None:
    old, new = (
        replace(configured(spec), windows=WindowSpec(60.0, 100, 30.0), label_horizon_s=9_000.0)
        for spec in (PUBLISHED, EXTENDED)
    )
    store = MemoryStore()
    play(store, [_responses(0, START)], old)
    outputs = play(store, [_responses(60, START + 600), _labels(60), _labels(0), [Tick(START + 900)]], new)
    assert not [output for output in outputs if isinstance(output, Rejected)]
    past = [o for o in outputs if isinstance(o, Estimate) and o.window_end <= START + 60 and o.revision > 1]
    assert {estimate.status for estimate in past} == {"ok"}
    with store.transaction() as memory:
        (context,) = State.resume(new, memory).contexts.values()
    classifier = context.committee.online
    assert (classifier.count.n, classifier.n_features) == (120, 22)
    assert classifier.model.weights[21] != 0


def _responses(first: int, at: float) -> list[Event]:
    return [
        Generation(f"r{i}", at + i % 60, "ab"[i % 4 < 2], Context(model="m"), _signal(i))
        for i in range(first, first + 60)
    ]


def _labels(first: int) -> list[Event]:
    return [Label(f"l{i}", f"r{i}", START + 700, float(i % 2)) for i in range(first, first + 60)]


def _signal(i: int) -> Signal:
    rng = np.random.default_rng(i)
    top = np.log(np.sort(rng.dirichlet(np.ones(6) if i % 2 else np.full(6, 0.1), 8))[:, :0:-1] + 1e-6)
    return Signal(top_logprobs=top.astype(np.float32), chosen_logprobs=top[:, 0].astype(np.float32))


@pytest.mark.parametrize(("given", "spec"), [*itertools.product((17, 22), (PUBLISHED, EXTENDED))])
def test_features_that_a_producer_computed_are_stored_with_the_columns_of_the_configured_set(
    given: int, spec: FeatureSpec
) -> None:
    store, values = MemoryStore(), np.arange(given, dtype=np.float32)
    play(store, [[Generation("r", START, "a", Context(model="m"), Signal(features=values))]], configured(spec))
    with store.transaction() as memory:
        found = memory.responses(["r"])["r"].features
    assert len(found) == spec.width
    assert found[:17].tolist() == values[:17].tolist()
    assert found[17:].tolist() == values[17 : spec.width].tolist() if given == 22 else np.isnan(found[17:]).all()
