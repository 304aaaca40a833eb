"""Warm starts and prequential curves, on the bundled recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.evaluation.curves import CONSTANT, WITH_OFFSETS, draw, markdown, measure
from driftgauge.agent.evaluation.fit import chosen, fit, prequential, rows_of, table
from driftgauge.agent.service.fit_files import load_fit, save_fit
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.recordings import Recording, read_recording
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.learn.committee import Committee, CommitteeSettings
from driftgauge.models.rows import Rows
from driftgauge.models.signals.feature_sets import FeatureSpec

DATA = Path(__file__).parents[1] / "recordings"
SETTINGS = CommitteeSettings()
PIPELINE = PipelineSettings()


@pytest.fixture(scope="module")
def recording() -> Recording:
    return read_recording(DATA / "reference.npz")


@pytest.fixture(scope="module")
def rows(recording: Recording) -> Rows:
    return chosen(rows_of([recording]), np.arange(1200))


def test_recordings_become_rows_in_a_shuffled_order_given_by_the_seed(recording: Recording) -> None:
    rows, again, other = rows_of([recording]), rows_of([recording]), rows_of([recording], seed=1)
    assert len(rows) == len(recording)
    assert rows.id.tolist() == again.id.tolist() != other.id.tolist()
    assert sorted(rows.id) == sorted(other.id)
    i = int(rows.id[0].rpartition("-")[2])
    assert rows.domain[0] == recording.domain[i]
    np.testing.assert_array_equal(rows.features[0], recording.features()[i].astype(np.float32))


def test_a_recording_without_labels_raises_a_clear_error(recording: Recording) -> None:
    with pytest.raises(ConnectorError, match="reference has no labels"):
        rows_of([replace(recording, correct=None)])


def test_a_fitted_committee_predicts_better_than_a_constant_and_has_metrics(rows: Rows) -> None:
    fitted = fit(rows, PIPELINE)
    overall = fitted.metrics[0]
    assert overall.domain is None
    assert 1000 < overall.n <= 1200
    assert overall.brier is not None
    assert overall.brier < 0.8 * np.var(rows.correct)
    assert {m.domain for m in fitted.metrics[1:]} == set(rows.domain.tolist())
    lines = table(fitted.metrics)
    assert lines[1][:2] == ["all", str(overall.n)]


def test_a_fit_without_labels_raises_a_clear_error(rows: Rows) -> None:
    with pytest.raises(ConnectorError, match="no labelled response"):
        fit(replace(rows, correct=np.full(len(rows), np.nan)), PIPELINE)


@pytest.fixture(scope="module")
def fitted_context(rows: Rows) -> ContextState:
    return fit(chosen(rows, np.arange(400)), PIPELINE).context


def test_a_context_started_from_a_saved_fit_predicts_like_the_fitted_one(
    tmp_path: Path, rows: Rows, fitted_context: ContextState
) -> None:
    save_fit(tmp_path / "start.fit", fitted_context)
    loaded = ContextState.restore(PIPELINE, load_fit(tmp_path / "start.fit", PIPELINE))
    predicted = loaded.committee.predict_proba(rows.features)
    assert predicted.tobytes() == fitted_context.committee.predict_proba(rows.features).tobytes()
    assert np.isfinite(predicted).all()
    assert loaded.estimator.name == fitted_context.estimator.name
    assert loaded.committee.classifier_version == fitted_context.committee.classifier_version > 0
    assert [path.name for path in tmp_path.iterdir()] == ["start.fit"]


def test_a_context_started_from_a_fit_predicts_its_first_response_and_survives_a_restart(
    recording: Recording, fitted_context: ContextState
) -> None:
    configured = replace(PIPELINE, fitted=fitted_context.snapshot())
    store, pipeline = MemoryStore(), Pipeline(configured)
    with store.transaction() as transaction:
        pipeline.step([recording.generation(0, "r0", 0.0)], transaction)
        assert transaction.responses(["r0"])["r0"].p_correct > 0
    with store.transaction() as transaction:
        resumed = Pipeline.resume(PIPELINE, transaction)
    before, after = (next(iter(p.state.contexts.values())) for p in (pipeline, resumed))
    assert before.snapshot() == after.snapshot()
    assert after.committee.n_labels == 400


def test_a_fit_on_another_set_of_features_predicts_and_estimates(tmp_path: Path, fitted_context: ContextState) -> None:
    save_fit(tmp_path / "start.fit", fitted_context)
    configured = replace(PIPELINE, features=FeatureSpec("published"))
    context = ContextState.restore(configured, load_fit(tmp_path / "start.fit", configured))
    rows = np.full((2, 17), 0.5, np.float32)
    assert np.isfinite(context.committee.predict_proba(rows)).all()
    assert np.isfinite(context.estimator.row_scores(rows)).all()


def test_a_fit_on_another_entropy_raises(tmp_path: Path, fitted_context: ContextState) -> None:
    save_fit(tmp_path / "start.fit", fitted_context)
    with pytest.raises(ConnectorError, match="22 features of entropy 'published'"):
        load_fit(tmp_path / "start.fit", replace(PIPELINE, features=FeatureSpec(entropy="renormalised")))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no msgpack \xff",
        b"\x95\xa3abc\x01\xa9published\x11\xc4\x00",
        b"\x95\xaedriftgauge-fit\x01\xa9published\x11\xc4\x00",
    ],
)
def test_a_file_that_is_not_a_fit_raises_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "start.fit").write_bytes(content)
    with pytest.raises(ConnectorError, match="is no fit to start from"):
        load_fit(tmp_path / "start.fit", PIPELINE)


@pytest.mark.parametrize("champion", ["random_forest", "logistic_regression"])
def test_prequential_predicts_like_a_committee_that_predicts_before_every_label(champion: str, rows: Rows) -> None:
    few, configured = chosen(rows, np.arange(260)), replace(SETTINGS, champion=champion)
    committee, one_by_one = Committee(configured), np.full(260, np.nan)
    for i in range(260):
        one_by_one[i] = committee.predict_proba(few.features[i : i + 1])[0]
        columns = (few.features, few.correct, few.weight, few.domain.tolist(), few.p_correct)
        committee.score_and_learn(*(column[i : i + 1] for column in columns))  # type: ignore[arg-type]  # five columns
        if committee.wants_refit():
            committee.refit(chosen(few, np.arange(i + 1)))
    assert prequential(Committee(configured), few).tobytes() == one_by_one.tobytes()


def test_curves_of_every_run_and_classifier_become_a_table_and_a_picture(tmp_path: Path, recording: Recording) -> None:
    small = replace(
        recording,
        offsets=recording.offsets[:301],
        domain=recording.domain[:300],
        correct=np.tile([0.0, 1.0], 150).astype(np.float32),
    )
    shown: list[str] = []
    curves = measure([[small], [small, small]], SETTINGS, ["random_forest"], show=shown.append)
    assert shown == ["reference: random_forest", "reference then reference: random_forest"]
    assert [c.classifier for c in curves] == [CONSTANT, "random_forest", WITH_OFFSETS.format("random_forest")] * 2
    text = markdown(curves)
    assert text.count("| random_forest |") == 2
    assert "### reference then reference" in text
    draw(curves, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_point_of_a_curve_averages_its_span_without_labels_that_have_no_prediction() -> None:
    from driftgauge.agent.evaluation.curves import SPAN, Curve

    predicted = np.r_[np.full(100, np.nan), np.full(900, 0.5), np.full(SPAN, 1.0)]
    curve = Curve("run", "c", np.ones(len(predicted)), predicted)
    brier = curve.brier()
    assert np.isnan(brier[:190]).all()
    assert brier[999] == pytest.approx(0.25)
    assert brier[-1] == pytest.approx(0.0)
    assert curve.metric().n == 900 + SPAN
    assert curve.metric(last=500).n == 400
