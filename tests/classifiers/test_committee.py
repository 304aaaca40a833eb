"""The rules of champion, challengers, refits, versions and the signal gate."""

from __future__ import annotations

import itertools
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.learn.committee import WHOLE, Committee
from driftgauge.models.learn.committee_record import LIVE
from driftgauge.models.learn.members import CommitteeSettings
from driftgauge.models.learn.stored_fit import StoredFit
from driftgauge.models.rows import Rows
from driftgauge.models.saved_format import NewerStateError, SavedFormat

SETTINGS = CommitteeSettings(refit_every_labels=150, max_training_rows=400, min_labels=5, seed=1)
ALL = replace(SETTINGS, challengers=("logistic_regression", "neural_network", "gradient_boosting"))


def traffic(n: int, *, seed: int = 0, signal: float = 3.0, domains: int = 3, width: int = 4) -> Rows:
    """Labelled responses: in every domain correctness depends on the first feature, and domains differ in level."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width)).astype(np.float32)
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
        slices=np.full(n, {}, dtype=np.object_),
    )


def part(rows: Rows, first: int, last: int) -> Rows:
    return Rows(*(getattr(rows, name)[first:last] for name in Rows.__slots__))


def feed(
    committee: Committee, rows: Rows, cuts: tuple[int, ...] = (), *, start: int = 0, restart: bool = False
) -> Committee:
    """Give labels in batches as the pipeline does: score, learn, refit exactly when a refit is due."""
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


@pytest.mark.parametrize("champion", ["random_forest", "neural_network"])
@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(1, 399), max_size=5))
def test_batches_and_restarts_do_not_change_a_committee_to_the_bit(champion: str, cuts: list[int]) -> None:
    rows = traffic(400)
    configured = replace(SETTINGS, champion=champion, challengers=("logistic_regression",))
    whole = feed(Committee(configured), rows)
    for restart in (False, True):
        pieces = feed(Committee(configured), rows, tuple(cuts), restart=restart)
        assert pieces.snapshot() == whole.snapshot()
        assert pieces.predict_proba(rows.features).tobytes() == whole.predict_proba(rows.features).tobytes()


def test_saved_changes_add_up_to_the_whole_state() -> None:
    rows = traffic(600)
    saved: dict[str, bytes] = {}
    configured = replace(ALL, max_versions=4)
    committee = Committee(configured)
    for first, last in itertools.pairwise(range(0, 601, 50)):
        feed(committee, part(rows, 0, last), start=first)
        changes = committee.changes()
        saved |= {name: blob for name, blob in changes.items() if blob is not None}
        for name in [name for name, blob in changes.items() if blob is None]:
            del saved[name]
    assert sum(name.startswith("version/") for name in saved) <= 4 + 4
    assert Committee.restore(configured, saved).snapshot() == committee.snapshot()
    unchanged = committee.changes()
    assert list(unchanged) == ["live"]


def test_a_revised_label_is_learned_but_scores_no_member_that_has_learned_the_response() -> None:
    rows = traffic(150)
    settings = replace(SETTINGS, challengers=("logistic_regression",))
    committee = feed(Committee(settings), replace(rows, p_correct=np.full(150, 0.5)))
    before, evidence = committee.metrics(), committee.challengers[0].evidence
    p_before = committee.predict_proba(rows.features)
    for i in range(70):
        revised = part(rows, i, i + 1)
        committee.score_and_learn(
            revised.features, 1 - revised.correct, revised.weight, ["d0"], np.full(1, 0.5), is_revision=True
        )
    assert committee.metrics() == before
    assert committee.challengers[0].evidence == evidence
    assert (committee.predict_proba(rows.features) != p_before).any()


def test_the_learner_of_an_older_format_keeps_what_every_label_taught() -> None:
    committee = feed(Committee(ALL), traffic(120))
    parts = WHOLE.unpack(committee.snapshot(), dict[str, bytes])
    _, numbers, _, mean_weight, online, _ = LIVE.unpack(parts["live"])
    old = ["logistic_regression", False, None, online, [], [], [1_000, 9.0, 300.0, 1.0]]
    format_3 = SavedFormat("committee", LIVE.steps[:2])
    parts["live"] = format_3.pack(["logistic_regression", [7, *numbers], [old], mean_weight, [], []])
    version = SavedFormat("classifier version").pack([b"rows without domains", []])
    parts |= {name: version for name in parts if name.startswith("version/")}
    restored = Committee.restore(ALL, parts)
    assert (restored.n_labels, restored.labels_to_refit()) == (120, committee.labels_to_refit())
    features = traffic(20).features
    assert restored.predict_proba(features) == pytest.approx(committee.online.predict_proba(features))
    assert (restored.history, restored.classifier_version) == ([], 0)
    assert {part for name, part in restored.changes().items() if name.startswith("version/")} == {None}


def test_labels_beyond_a_due_refit_raise_and_are_not_learned() -> None:
    rows, committee = traffic(200), Committee(SETTINGS)
    with pytest.raises(ValueError, match="refit is due after 50"):
        committee.score_and_learn(rows.features, rows.correct, rows.weight, rows.domain.tolist(), rows.p_correct)
    assert committee.n_labels == 0


def test_refits_are_frequent_at_first_and_then_come_on_schedule() -> None:
    committee, rows, due = Committee(SETTINGS), traffic(700), []
    for i in range(len(rows)):
        before = committee.labels_to_refit()
        feed(committee, part(rows, 0, i + 1), start=i)
        if before == 1:
            due.append(committee.n_labels)
    assert due == [50, 100, 150, 225, 337, 487, 637]


def ring(n: int, seed: int = 0) -> Rows:
    """Right in an interval around 0, which no linear model can represent."""
    rng, rows = np.random.default_rng(seed), traffic(n, seed=seed, width=17)
    inside = (np.abs(rows.features[:, 0]) < 0.7).astype(float)
    return replace(rows, correct=np.where(rng.random(n) < 0.05, 1 - inside, inside))


def test_a_better_challenger_becomes_champion_and_a_worse_one_does_not() -> None:
    linear_first = replace(SETTINGS, champion="logistic_regression", challengers=("random_forest",), max_versions=50)
    committee = feed(Committee(linear_first), ring(1500))
    assert committee.champion.name == "random_forest"
    assert any("promoted over logistic_regression" in version.reason for version in committee.history)
    assert feed(Committee(linear_first), traffic(1500)).champion.name == "logistic_regression"


def sample(rows: Rows) -> Sample:
    """The rows of a new domain, without labels."""
    n = len(rows)
    return Sample(rows.features, np.full(n, np.nan), np.full(n, np.nan), np.ones(n), domain="new")


def test_a_new_version_a_promotion_and_a_rollback_change_predictions_and_estimates_together() -> None:
    linear_first = replace(SETTINGS, champion="logistic_regression", challengers=("random_forest",), max_versions=50)
    rows, new = ring(1500), traffic(200, seed=9, width=17)
    committee, found = Committee(linear_first), dict[int, tuple[float | None, bytes]]()
    for last in range(0, 1501, 50):
        feed(committee, part(rows, 0, last), start=max(last - 50, 0))
        estimate = committee.estimator.estimate(sample(new)).accuracy
        fit = committee.champion.fits.predict(new.features).tobytes() if committee.champion.fits else b""
        found.setdefault(committee.classifier_version, (estimate, fit))
        if committee.classifier_version:
            assert found[committee.classifier_version] == (estimate, fit)
    assert len(set(found.values())) == len(found) > 5
    kinds = {version.number: version.kind for version in committee.history}
    assert {kinds[number] for number in found if number} == {"logistic_regression", "random_forest"}
    first = next(number for number in found if kinds.get(number) == "logistic_regression")
    committee.rollback(first)
    assert committee.classifier_version == committee.history[-1].number
    assert committee.champion.fits is not None
    assert committee.champion.fits.predict(new.features).tobytes() == found[first][1]
    assert committee.estimator.estimate(sample(new)).accuracy == found[first][0] != found[max(found)][0]


def test_after_a_rollback_the_stored_version_predicts_to_the_bit_and_the_members_learn_on() -> None:
    rows = traffic(400)
    committee = feed(Committee(ALL), part(rows, 0, 225))
    number = next(v.number for v in reversed(committee.history) if v.kind == "random_forest")
    then = committee.predict_proba(rows.features)
    feed(committee, rows, start=225)
    assert committee.predict_proba(rows.features).tobytes() != then.tobytes()
    committee.rollback(number)
    assert committee.champion.name == f"random_forest@{number}"
    assert {m.name for m in committee.challengers} == {"random_forest", *ALL.challengers}
    assert committee.predict_proba(rows.features).tobytes() == then.tobytes()
    committee = Committee.restore(ALL, committee.snapshot())
    raw = committee.champion.raw(rows.features, np.full(400, np.nan))
    feed(committee, traffic(700), start=400)
    assert committee.champion.raw(rows.features, np.full(400, np.nan)).tobytes() == raw.tobytes()
    with pytest.raises(ValueError, match="version 999 is not stored"):
        committee.rollback(999)


def test_a_version_brought_back_loses_its_place_to_a_better_challenger() -> None:
    rows = traffic(1600)
    inverted = replace(rows, correct=np.where(np.arange(1600) < 200, rows.correct, 1 - rows.correct))
    committee = feed(Committee(replace(SETTINGS, memory_labels=200)), part(inverted, 0, 150))
    number = committee.history[-1].number
    feed(committee, inverted, start=150, cuts=(200,))
    committee.rollback(number)
    more = replace(traffic(2400, seed=5), correct=1 - traffic(2400, seed=5).correct)
    feed(committee, more, start=1600)
    assert committee.champion.name == "random_forest"
    assert all(member.frozen is None for member in committee.members)


def test_stored_versions_record_kind_labels_digest_and_metric() -> None:
    committee = feed(Committee(ALL), traffic(400))
    kinds = {v.kind for v in committee.history}
    assert kinds == {"random_forest", *ALL.challengers}
    refitted = [v for v in committee.history if v.kind == "random_forest"][-3:]
    assert [v.n_labels for v in refitted] == [150, 225, 337]
    assert len({v.digest for v in refitted}) == len(refitted)
    assert 300 < refitted[-1].metric.n < 337  # labels that were predicted


def test_every_domain_and_every_member_has_metrics() -> None:
    rows = traffic(600)
    committee = feed(Committee(ALL), rows)
    arrived = replace(rows, p_correct=committee.predict_proba(rows.features))
    feed(committee, arrived, start=400)
    by_name = {(m.classifier, m.domain): m for m in committee.metrics()}
    assert {domain for name, domain in by_name if name == "published"} == {None, "d0", "d1", "d2"}
    overall = by_name["published", None]
    assert overall.n == 200 == sum(by_name["published", f"d{i}"].n for i in range(3))
    for kind in ("random_forest", *ALL.challengers):
        metric = by_name[kind, None]
        assert metric.n > 300
        assert (metric.auroc or 0.0) > 0.8


def test_domains_beyond_max_domains_share_one_tally() -> None:
    rows = replace(traffic(300, domains=30), p_correct=np.full(300, 0.5))
    committee = feed(Committee(replace(SETTINGS, max_domains=5)), rows)
    domains = [m.domain for m in committee.metrics() if m.classifier == "published"]
    assert len(domains) == 1 + 5 + 1
    assert "(other)" in domains
    assert len(committee.offsets.offsets) == 5


def test_labels_of_a_domain_correct_its_predictions_when_the_domain_is_passed() -> None:
    rows = traffic(1500, domains=4)
    hard = rows.domain == "d3"
    rng = np.random.default_rng(3)
    rows = replace(rows, correct=np.where(hard & (rng.random(1500) < 0.5), 0.0, rows.correct))
    committee = feed(Committee(SETTINGS), rows)
    corrected = committee.predict_proba(rows.features[hard], rows.domain[hard].tolist())
    uncorrected = committee.predict_proba(rows.features[hard])
    truth = rows.correct[hard].mean()
    assert abs(corrected.mean() - truth) < 0.03 < abs(uncorrected.mean() - truth)
    unknown = committee.predict_proba(rows.features, ["never seen"] * 1500)
    np.testing.assert_allclose(unknown, committee.predict_proba(rows.features), rtol=1e-9)


def test_the_gate_closes_without_a_signal_and_stays_open_with_one() -> None:
    assert feed(Committee(SETTINGS), traffic(600)).signal_problem() is None
    blind = feed(Committee(SETTINGS), traffic(600, signal=0.0))
    assert "does not tell right from wrong" in (blind.signal_problem() or "")
    assert Committee.restore(SETTINGS, blind.snapshot()).signal_problem() == blind.signal_problem()
    assert feed(Committee(replace(SETTINGS, gate_auroc=0.0)), traffic(600, signal=0.0)).signal_problem() is None


def test_the_gate_stays_open_with_few_labels_or_one_domain() -> None:
    assert feed(Committee(SETTINGS), traffic(50, signal=0.0)).signal_problem() is None
    assert feed(Committee(SETTINGS), traffic(600, signal=0.0, domains=1)).signal_problem() is None


def test_changed_settings_change_the_members_which_start_with_fits_to_the_known_rows() -> None:
    committee = feed(Committee(replace(SETTINGS, challengers=("logistic_regression",))), traffic(400))
    configured = replace(SETTINGS, champion="neural_network", challengers=("random_forest",))
    changed = Committee.restore(configured, committee.snapshot())
    assert [m.name for m in changed.members] == ["neural_network", "random_forest"]
    assert [m.fits and m.fits.kind for m in changed.members] == ["neural_network", "random_forest"]
    assert changed.history[-1].reason == "named champion in the settings"
    assert changed.classifier_version == changed.history[-1].number
    assert changed.n_labels == changed.online.n_labels == 400
    alone = Committee.restore(SETTINGS, committee.snapshot())
    assert [m.name for m in alone.members] == ["random_forest"]
    assert alone.classifier_version == committee.classifier_version


def test_a_fit_that_is_not_reproduced_is_recorded_as_a_new_version() -> None:
    committee = feed(Committee(SETTINGS), traffic(200))
    parts = WHOLE.unpack(committee.snapshot())
    name = f"version/{committee.champion.stored_number}"
    stored = StoredFit.unpack(parts[name])
    assert stored
    parts[name] = stored._replace(digest="0" * 16, libraries={"scikit-learn": "0.1"}).pack()
    restored = Committee.restore(SETTINGS, parts)
    assert restored.classifier_version == committee.classifier_version + 1
    assert "scikit-learn" in restored.history[-1].reason
    assert f"version/{restored.history[-1].number}" in restored.changes()


def test_each_member_has_another_kind_and_the_kind_must_exist() -> None:
    with pytest.raises(ValueError, match="once"):
        CommitteeSettings(challengers=("random_forest",))
    with pytest.raises(ValueError, match="no classifier of kind 'oracle'"):
        CommitteeSettings(champion="oracle")


def test_a_snapshot_of_a_newer_format_raises_an_error_that_names_the_version_to_use() -> None:
    parts = WHOLE.unpack(Committee(SETTINGS).snapshot())
    _, _, live = msgspec.msgpack.decode(parts["live"])
    parts["live"] = msgspec.msgpack.encode([99, "9.0.0", live])
    with pytest.raises(NewerStateError, match=r"committee has format 99: use driftgauge 9\.0\.0 or newer"):
        Committee.restore(SETTINGS, parts)


def test_the_state_of_a_committee_has_a_bounded_size() -> None:
    configured = replace(ALL, max_versions=3, round_labels=300)
    committee, sizes = Committee(configured), []
    for start in range(0, 1800, 300):
        feed(committee, traffic(start + 300), start=start)
        sizes.append(len(committee.snapshot()))
    assert max(sizes[2:]) < 1.1 * sizes[2]
