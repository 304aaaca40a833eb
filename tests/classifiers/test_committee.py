"""The rules of champion, challengers, refits, versions and the signal gate."""

from __future__ import annotations

import itertools
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.models.classify.committee import BLOCK_LABELS, Committee
from driftgauge.models.classify.members import CommitteeSettings
from driftgauge.models.rows import Rows

SETTINGS = CommitteeSettings(refit_every_labels=150, max_training_rows=400, min_labels=5, seed=1)
ALL = replace(SETTINGS, challengers=("random_forest", "gradient_boosting", "sparse_logistic_regression"))


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.models.classify.refitted.N_TREES", 10)


def traffic(n: int, *, seed: int = 0, signal: float = 3.0, domains: int = 3) -> Rows:
    """Labelled responses of which the first feature tells right from wrong in every domain; domains differ in level."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4)).astype(np.float32)
    domain = rng.integers(0, domains, n)
    p = 1 / (1 + np.exp(-signal * features[:, 0] + 0.5 * (domain - 1)))
    return Rows(
        seq=np.arange(n),
        id=np.array([f"r{i:06}" for i in range(n)]),
        domain=np.array([f"d{i}" for i in domain]),
        event_time=np.arange(n, dtype=np.float64),
        features=features,
        p_correct=np.full(n, np.nan),
        correct=(rng.random(n) < p).astype(np.float64),
        weight=rng.choice([1.0, 3.0], n),
    )


def part(rows: Rows, first: int, last: int) -> Rows:
    return Rows(*(getattr(rows, name)[first:last] for name in Rows.__slots__))


def feed(
    committee: Committee, rows: Rows, cuts: tuple[int, ...] = (), *, start: int = 0, restart: bool = False
) -> Committee:
    """Give labels in batches as the pipeline does: predict on arrival, learn, refit exactly when one is due."""
    at = start
    for stop in [*(c for c in sorted(set(cuts)) if c > start), len(rows)]:
        while at < stop:
            last = min(stop, at + committee.labels_to_refit())
            now = part(rows, at, last)
            committee.score_and_learn(now.features, now.correct, now.weight, now.domain.tolist(), now.p_correct)
            at = last
            if committee.wants_refit():
                committee.refit(part(rows, 0, at))
        if restart:
            committee = Committee.restore(committee.settings, committee.snapshot())
    return committee


@pytest.mark.parametrize("champion", ["logistic_regression", "random_forest"])
@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(1, 399), max_size=5))
def test_batches_and_restarts_do_not_matter_to_the_bit(champion: str, cuts: list[int]) -> None:
    rows = traffic(400)
    others = ("random_forest", "logistic_regression", "sparse_logistic_regression")
    told = replace(SETTINGS, champion=champion, challengers=tuple(k for k in others if k != champion))
    whole = feed(Committee(told), rows)
    for restart in (False, True):
        pieces = feed(Committee(told), rows, tuple(cuts), restart=restart)
        assert pieces.snapshot() == whole.snapshot()
        assert pieces.predict_proba(rows.features).tobytes() == whole.predict_proba(rows.features).tobytes()


def test_saved_changes_add_up_to_the_whole() -> None:
    rows = traffic(600)
    saved: dict[str, bytes] = {}
    told = replace(ALL, max_versions=4)
    committee = Committee(told)
    for first, last in itertools.pairwise(range(0, 601, 50)):
        feed(committee, part(rows, 0, last), start=first)
        changes = committee.changes()
        saved |= {name: blob for name, blob in changes.items() if blob is not None}
        for name in [name for name, blob in changes.items() if blob is None]:
            del saved[name]
    assert sum(name.startswith("version/") for name in saved) <= 4 + 4
    assert Committee.restore(told, saved).snapshot() == committee.snapshot()
    unchanged = committee.changes()
    assert list(unchanged) == ["live"]


def test_the_version_grows_whenever_predictions_change() -> None:
    rows = traffic(420)
    for champion in ("logistic_regression", "random_forest"):
        committee = Committee(replace(SETTINGS, champion=champion))
        last = committee.version, committee.predict_proba(rows.features[:20]).tobytes()
        for i in range(len(rows)):
            feed(committee, part(rows, 0, i + 1), start=i)
            now = committee.version, committee.predict_proba(rows.features[:20]).tobytes()
            assert now[0] >= last[0]
            assert now[0] > last[0] or now[1] == last[1]
            last = now


def test_labels_beyond_a_due_refit_are_refused() -> None:
    rows, committee = traffic(200), Committee(SETTINGS)
    with pytest.raises(ValueError, match="refit is due after 50"):
        committee.score_and_learn(rows.features, rows.correct, rows.weight, rows.domain.tolist(), rows.p_correct)
    assert committee.n_labels == 0


def test_refits_come_early_at_first_and_then_on_schedule() -> None:
    committee, rows, due = Committee(SETTINGS), traffic(700), []
    for i in range(len(rows)):
        before = committee.labels_to_refit()
        feed(committee, part(rows, 0, i + 1), start=i)
        if before == 1:
            due.append(committee.n_labels)
    assert due == [50, 100, 150, 225, 337, 487, 637]


def test_a_better_challenger_takes_over_and_a_worse_one_does_not() -> None:
    rng = np.random.default_rng(0)
    rows = traffic(1500)
    # right in a ring around 0: no linear model sees it
    ring = (np.abs(rows.features[:, 0]) < 0.7).astype(float)
    rows = replace(rows, correct=np.where(rng.random(1500) < 0.05, 1 - ring, ring))
    committee = feed(Committee(replace(SETTINGS, challengers=("random_forest",))), rows)
    assert committee.champion.name == "random_forest"
    assert any("promoted over logistic_regression" in version.reason for version in committee.history)
    linear = feed(Committee(replace(SETTINGS, challengers=("random_forest",))), traffic(1500))
    assert linear.champion.name == "logistic_regression"


def test_rollback_brings_back_a_version_to_the_bit_and_learning_goes_on_beside_it() -> None:
    rows = traffic(400)
    committee = feed(Committee(ALL), part(rows, 0, 225))
    number = next(v.number for v in reversed(committee.history) if v.kind == "logistic_regression")
    then = committee.champion.classifier.predict_proba(rows.features)
    feed(committee, rows, start=225)
    assert committee.champion.classifier.predict_proba(rows.features).tobytes() != then.tobytes()
    version = committee.version
    committee.rollback(number)
    assert committee.version > version
    assert committee.champion.name == f"logistic_regression@{number}"
    assert {m.name for m in committee.challengers} == {"logistic_regression", *ALL.challengers}
    committee = Committee.restore(ALL, committee.snapshot())
    feed(committee, traffic(700), start=400)
    assert committee.champion.classifier.predict_proba(rows.features).tobytes() == then.tobytes()
    with pytest.raises(ValueError, match="version 999 is not stored"):
        committee.rollback(999)


def test_a_version_brought_back_that_has_gone_stale_loses_its_place() -> None:
    rows = traffic(1600)
    turned = replace(rows, correct=np.where(np.arange(1600) < 200, rows.correct, 1 - rows.correct))
    committee = feed(Committee(replace(SETTINGS, memory_labels=200)), part(turned, 0, 150))
    number = committee.history[-1].number
    feed(committee, turned, start=150, cuts=(200,))
    committee.rollback(number)
    more = replace(traffic(2400, seed=5), correct=1 - traffic(2400, seed=5).correct)
    feed(committee, more, start=1600)
    assert committee.champion.name == "logistic_regression"
    assert all(not m.is_frozen for m in committee.members)


def test_stored_versions_say_what_stood_behind_them() -> None:
    committee = feed(Committee(ALL), traffic(400))
    kinds = {v.kind for v in committee.history}
    assert kinds == {"logistic_regression", *ALL.challengers}
    refitted = [v for v in committee.history if v.kind == "random_forest"]
    assert [v.n_labels for v in refitted] == [50, 100, 150, 225, 337]
    assert len({v.digest for v in refitted}) == len(refitted)
    assert refitted[-1].metric.n == 300 - 50 + 37  # scored on all labels after its first fit


def test_every_domain_and_every_member_has_its_metrics() -> None:
    rows = traffic(600)
    committee = feed(Committee(ALL), rows)
    arrived = replace(rows, p_correct=committee.predict_proba(rows.features))
    feed(committee, arrived, start=400)
    by_name = {(m.classifier, m.domain): m for m in committee.metrics()}
    assert {domain for name, domain in by_name if name == "published"} == {None, "d0", "d1", "d2"}
    overall = by_name["published", None]
    assert overall.n == 200 == sum(by_name["published", f"d{i}"].n for i in range(3))
    for kind in ("logistic_regression", *ALL.challengers):
        metric = by_name[kind, None]
        assert metric.n > 300
        assert (metric.auroc or 0.0) > 0.8


def test_domains_beyond_the_bound_share_one_tally() -> None:
    rows = replace(traffic(300, domains=30), p_correct=np.full(300, 0.5))
    committee = feed(Committee(replace(SETTINGS, max_domains=5)), rows)
    domains = [m.domain for m in committee.metrics() if m.classifier == "published"]
    assert len(domains) == 1 + 5 + 1
    assert "(other)" in domains
    assert len(committee.offsets.offsets) == 5


def test_told_domains_their_own_labels_correct_the_prediction() -> None:
    rows = traffic(1500, domains=4)
    hard = rows.domain == "d3"
    rng = np.random.default_rng(3)
    rows = replace(rows, correct=np.where(hard & (rng.random(1500) < 0.5), 0.0, rows.correct))
    committee = feed(Committee(SETTINGS), rows)
    told = committee.predict_proba(rows.features[hard], rows.domain[hard].tolist())
    untold = committee.predict_proba(rows.features[hard])
    truth = rows.correct[hard].mean()
    assert abs(told.mean() - truth) < 0.03 < abs(untold.mean() - truth)
    unknown = committee.predict_proba(rows.features, ["never seen"] * 1500)
    np.testing.assert_allclose(unknown, committee.predict_proba(rows.features), rtol=1e-9)


def test_no_signal_is_said_and_a_signal_is_not_doubted() -> None:
    assert feed(Committee(SETTINGS), traffic(600)).signal_problem() is None
    blind = feed(Committee(SETTINGS), traffic(600, signal=0.0))
    assert "does not tell right from wrong" in (blind.signal_problem() or "")
    assert Committee.restore(SETTINGS, blind.snapshot()).signal_problem() == blind.signal_problem()
    assert feed(Committee(replace(SETTINGS, gate_auroc=0.0)), traffic(600, signal=0.0)).signal_problem() is None


def test_too_little_evidence_closes_no_gate() -> None:
    assert feed(Committee(SETTINGS), traffic(50, signal=0.0)).signal_problem() is None
    assert feed(Committee(SETTINGS), traffic(600, signal=0.0, domains=1)).signal_problem() is None


def test_changed_settings_change_the_members_and_keep_what_was_learned() -> None:
    rows = traffic(400)
    committee = feed(Committee(replace(SETTINGS, challengers=("random_forest",))), rows)
    learned = committee.champion.classifier.n_labels
    told = replace(SETTINGS, champion="random_forest", challengers=("logistic_regression", "gradient_boosting"))
    changed = Committee.restore(told, committee.snapshot())
    assert [m.name for m in changed.members] == ["random_forest", "logistic_regression", "gradient_boosting"]
    assert changed.champion.classifier.not_ready() is None
    assert changed.challengers[0].classifier.n_labels == learned
    assert changed.history[-1].reason == "named champion in the settings"
    alone = Committee.restore(SETTINGS, committee.snapshot())
    assert [m.name for m in alone.members] == ["logistic_regression"]


def test_a_fit_that_cannot_be_reproduced_is_noted_under_a_new_version() -> None:
    told = replace(SETTINGS, champion="random_forest")
    committee = feed(Committee(told), traffic(200))
    parts = msgspec.msgpack.decode(committee.snapshot())
    name = f"version/{committee.champion.stored}"
    classifier, calibrator = msgspec.msgpack.decode(parts[name])
    inner = msgspec.msgpack.decode(classifier)
    inner[3] |= {"digest": "0" * 16, "libraries": {"scikit-learn": "0.1"}}
    parts[name] = msgspec.msgpack.encode([msgspec.msgpack.encode(inner), calibrator])
    restored = Committee.restore(told, parts)
    assert restored.version == committee.version + 1
    assert "scikit-learn" in restored.history[-1].reason
    assert f"version/{restored.history[-1].number}" in restored.changes()


def test_a_kind_can_sit_only_once_and_must_exist() -> None:
    with pytest.raises(ValueError, match="once"):
        CommitteeSettings(challengers=("logistic_regression",))
    with pytest.raises(ValueError, match="no classifier of kind 'oracle'"):
        Committee(CommitteeSettings(champion="oracle"))


def test_a_snapshot_of_another_format_is_a_clear_error() -> None:
    parts = msgspec.msgpack.decode(Committee(SETTINGS).snapshot())
    live = msgspec.msgpack.decode(parts["live"])
    parts["live"] = msgspec.msgpack.encode([99, *live[1:]])
    with pytest.raises(ValueError, match="format 99"):
        Committee.restore(SETTINGS, parts)


def test_state_stays_bounded_over_a_long_run() -> None:
    told = replace(ALL, max_versions=3, round_labels=300)
    committee, sizes = Committee(told), []
    for start in range(0, 1800, 300):
        feed(committee, traffic(start + 300), start=start)
        sizes.append(len(committee.snapshot()))
        assert len(committee._block) < BLOCK_LABELS
    assert max(sizes[2:]) < 1.1 * sizes[2]
