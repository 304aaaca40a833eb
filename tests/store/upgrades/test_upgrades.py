"""Stores of each released version, and of some commits, open with this code and go on with the same estimates.

`tests.store.upgrades.write` makes them; CONTRIBUTING.md says when.
"""

from __future__ import annotations

import lzma
from contextlib import closing
from functools import cache
from pathlib import Path

import msgspec
import psycopg
import pytest

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.state import STREAM, State
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.outputs import Acquisition, Estimate
from driftgauge.models.saved_format import NewerStateError
from driftgauge.models.signals.feature_sets import FeatureSpec
from tests.copying import replace
from tests.store.conftest import POSTGRES
from tests.store.upgrades.traffic import N_RESPONSES, SETTINGS, events, play
from tests.store.upgrades.write import STORES

WRITERS = sorted(path.name.removesuffix(".db.xz") for path in STORES.glob("*.db.xz"))
COMPARED = ("status", "estimator", "n_events", "n_labels")
SAME_FEATURES = replace(SETTINGS, features=FeatureSpec("published"))
"""Old code computed these; `SETTINGS` must be valid in every version, so they are named here."""
N_MEMBERS = 2  # of the committee in `SETTINGS`; each stores a version at the upgrade
FLOATS = ("accuracy", "ci_low", "ci_high", "effective_sample_size", "accuracy_labelled")


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sqlite", POSTGRES])
def old_store(writer: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A copy of a store that old code wrote."""
    if request.param == "sqlite":
        (tmp_path / "gauge.db").write_bytes(content(f"{writer}.db.xz"))
        return f"sqlite:///{tmp_path / 'gauge.db'}"
    url = str(request.getfixturevalue("postgres_url"))
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(content(f"{writer}.sql.xz"))
    return url


def content(name: str) -> bytes:
    return lzma.decompress((STORES / name).read_bytes())


@cache
def newest_of_today() -> dict[tuple[str, float], Estimate]:
    """The newest estimate of each window that this code makes of the same events, without an upgrade."""
    store = MemoryStore()
    before, after = events()
    play(store, before, SAME_FEATURES)
    return newest(play(store, after, SAME_FEATURES))


def newest(estimates: list[Estimate]) -> dict[tuple[str, float], Estimate]:
    return {(estimate.domain, estimate.window_end): estimate for estimate in estimates}


def test_the_sum_of_alerts_that_old_code_counted_is_no_counter_any_more(old_store: str) -> None:
    with closing(open_store(old_store, topics=Topics())) as store, store.transaction() as transaction:
        state = State.resume(SAME_FEATURES, transaction)
    assert state.n_alerts > 0
    assert "alerts" not in state.counters


def test_the_agent_goes_on_from_an_old_store_with_the_estimates_of_an_agent_that_was_never_upgraded(
    old_store: str,
) -> None:
    with closing(open_store(old_store, topics=Topics())) as store:
        estimates = newest(play(store, events()[1], SAME_FEATURES))
    expected = newest_of_today()
    assert estimates.keys() >= expected.keys()
    assert len(expected) > 8
    exact = 0
    for window, new in expected.items():
        estimate = estimates[window]
        # until the next fit, an upgraded agent estimates from the rows that the old code had fitted its estimator to
        is_fitted_since = estimate.classifier_version > N_MEMBERS
        exact += is_fitted_since
        assert [getattr(estimate, name) for name in COMPARED] == [getattr(new, name) for name in COMPARED]
        for name in FLOATS:
            expected_value = pytest.approx(getattr(new, name), rel=1e-6, abs=0 if is_fitted_since else 0.02)
            assert getattr(estimate, name) == expected_value, (name, estimate, new)
    assert exact > 4


def test_the_agent_goes_on_from_an_old_store_with_more_features(old_store: str) -> None:
    with closing(open_store(old_store, topics=Topics())) as store:
        estimates = newest(play(store, events()[1]))
        with store.transaction() as memory:
            rows = memory.responses(["r1", f"r{N_RESPONSES - 1}"])
    assert sorted(len(row.features) for row in rows.values()) == [17, 22]
    for window, expected in newest_of_today().items():
        assert (estimates[window].status, estimates[window].n_events) == (expected.status, expected.n_events)
        assert estimates[window].accuracy == pytest.approx(expected.accuracy, abs=0.1)


def test_an_old_store_is_not_read_before_an_agent_has_brought_it_up_to_date(old_store: str) -> None:
    with pytest.raises(ConnectorError, match="older schema version"):
        open_queries(old_store)
    open_store(old_store, topics=Topics()).close()
    open_queries(old_store).close()


def test_lists_that_ranked_domains_for_labelling_are_read_as_data_lists_without_values(old_store: str) -> None:
    open_store(old_store, topics=Topics()).close()
    with closing(open_queries(old_store)) as queries:
        found = queries.latest_acquisition()
    assert found is not None
    assert len(found.priorities) == 2
    assert sum(row.traffic_share for row in found.priorities) == pytest.approx(1)
    for row in found.priorities:
        assert "of traffic" in row.why
        assert (row.value, row.target, row.p_top3, row.worst) == (None, None, None, ())


def test_domains_of_an_old_store_are_not_new(old_store: str) -> None:
    with closing(open_store(old_store, topics=Topics())) as store:
        play(store, events()[1], SAME_FEATURES)
        (found,) = store.newest(Acquisition, 1)
    assert [row.is_new for row in found.priorities] == [False, False]


def test_nothing_but_the_state_of_drift_detectors_is_lost(old_store: str) -> None:
    with closing(open_store(old_store, topics=Topics())) as store, store.transaction() as memory:
        state = Pipeline.resume(SETTINGS, memory).state
        marks = memory.take_stale(1_000)
    assert len(state.domains) == state.counters["detectors_restarted"] == 2
    assert len(marks) == state.n_stale > 0
    assert state.n_pending > 0
    assert state.assembly.in_flight
    (context,) = state.contexts.values()
    assert [member.name for member in context.committee.members] == [
        "random_forest", "logistic_regression"
    ]  # fmt: skip
    assert context.committee.champion.fits
    assert context.committee.online.n_labels == context.committee.n_labels > 200


def test_state_of_a_newer_format_stops_the_agent_and_names_the_version_to_use(old_store: str) -> None:
    with closing(open_store(old_store, topics=Topics())) as store, store.transaction() as memory:
        newer = msgspec.msgpack.encode([STREAM.number + 1, "9.0.0", {}])
        memory.save_state({"stream": newer})
        with pytest.raises(NewerStateError, match=r"state of the stream has format \d+: use driftgauge 9.0.0 or newer"):
            Pipeline.resume(SETTINGS, memory)
