"""The learner of one context: what it predicts for a response is what estimates the domain of the response.

A champion predicts and estimates, and challengers are tried beside it. An online regression, shared by all, learns from
every label; the fit of each member comes on a schedule. Every member predicts a response before its label is learned
(test-then-train). Fits and promotions depend on the labels and their order only: they happen at label counts, never at
batch boundaries. Bounds: ``max_domains`` tallies, ``max_versions`` stored versions with at most `MAX_ROWS` rows, or
`MIN_ROWS` for each domain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.calibration import DomainOffsets, RunningMean
from driftgauge.models.classify.fits import libraries
from driftgauge.models.classify.labelled_rows import LabelCount, check_labels
from driftgauge.models.classify.online import OnlineRegression
from driftgauge.models.classify.prequential import Metric, Tally
from driftgauge.models.estimate.default_estimator import estimator_of
from driftgauge.models.estimate.estimators import CorrectedMean, Estimator, Sample
from driftgauge.models.estimate.fold_fits import FoldFits, thinned
from driftgauge.models.label_weights import LargestWeight
from driftgauge.models.learn.committee_record import DOMAIN, Live, metrics_of, read_domain, read_live
from driftgauge.models.learn.gate import domains_left_out
from driftgauge.models.learn.members import CommitteeSettings, Member, StoredVersion
from driftgauge.models.learn.promotion import Evidence
from driftgauge.models.learn.stored_fit import StoredFit, is_readable
from driftgauge.models.rows import Rows
from driftgauge.models.saved_format import SavedFormat

__all__ = ["Committee", "CommitteeSettings", "Metric", "StoredVersion"]

OTHER_DOMAINS = "(other)"
PROMOTIONS_EVERY = 50  # labels
FIRST_REFIT = 50  # labels

WHOLE = SavedFormat("committee in one piece")


class Committee:
    """Champion and challengers of one context.

    Attributes
    ----------
    n_labels : labels taken so far
    online : learns from every label, and is a part of what each member predicts
    history : the stored versions, oldest first

    Examples
    --------
    >>> committee = Committee(CommitteeSettings())
    >>> entropy = np.tile(np.linspace(0, 1, 10, dtype=np.float32), 5)[:, None]
    >>> is_right = (entropy[:, 0] < 0.5).astype(float)
    >>> committee.score_and_learn(entropy, is_right, np.ones(50), ["mul"] * 50, np.full(50, np.nan))
    >>> low, high = committee.predict_proba(np.array([[0.1], [0.9]], dtype=np.float32))
    >>> bool(low > 0.7 > 0.3 > high)
    True
    """

    def __init__(self, settings: CommitteeSettings) -> None:
        self.settings = settings
        self.n_labels = 0
        self.online = OnlineRegression(settings.min_labels, settings.memory_labels)
        self.champion = Member(settings.champion, settings.memory_labels)
        self.challengers = [Member(kind, settings.memory_labels) for kind in settings.challengers]
        self.offsets = DomainOffsets(settings.memory_labels, settings.max_domains)
        self.largest_weight = LargestWeight(settings.smallest_inclusion_probability)
        self.history: list[StoredVersion] = []
        self._signal_problem: str | None = None
        self._published: dict[str, Tally] = {}
        self._versions: dict[int, bytes] = {}
        self._refit_at = FIRST_REFIT
        self._touched: set[str] = set()
        self._estimator: tuple[FoldFits | None, Estimator] = None, CorrectedMean()

    @property
    def members(self) -> list[Member]:
        """The champion, then the challengers."""
        return [self.champion, *self.challengers]

    @property
    def classifier_version(self) -> int:
        """Number of the stored version that predicts and estimates; 0 before the first fit."""
        return self.champion.stored_number or 0

    # --- predicting and estimating

    def not_ready(self) -> str | None:
        """Why there is no prediction yet."""
        return None if self.champion.fits else (self.champion.frozen or self.online).not_ready()

    def predict_proba(
        self, features: Float32s, domain: str | Sequence[str] | None = None, *, may_be_seen: bool = False
    ) -> Float64s:
        """Calibrated P(correct) of n responses, (n,); NaN while not ready.

        With ``domain``, one for all or one for each, the offsets learned from its labels are added (`DomainOffsets`).
        ``may_be_seen``: see `FoldFits.predict`.
        """
        raw = self.champion.raw(features, self.online.predict_proba(features), may_be_seen=may_be_seen)
        p = self.champion.calibrator.apply(raw)
        return p if domain is None or not self.settings.correct_domains else self.offsets.apply(p, domain)

    @property
    def estimator(self) -> Estimator:
        """Estimates domains from the fit of the champion; made when it is first used after a fit."""
        fits, known = self._estimator
        if fits is self.champion.fits:
            return known
        made = estimator_of(self.champion.fits) if self.champion.fits else CorrectedMean()
        self._estimator = self.champion.fits, made
        return made

    def signal_problem(self) -> str | None:
        """Why the last check of the gate found the signal invalid; None when it passed or could not decide."""
        return self._signal_problem

    # --- labels

    def labels_to_refit(self) -> int:
        """Number of labels that may still be learned before `refit` must be called."""
        return self._refit_at - self.n_labels

    def score_and_learn(
        self,
        features: Float32s,
        correct: Float64s,
        weight: Float64s,
        domain: Sequence[str],
        p_at_arrival: Float64s,
        *,
        is_revision: bool = False,
    ) -> None:
        """Take n labels in order: score every member, then learn.

        Parameters
        ----------
        p_at_arrival : (n,) probabilities published when the responses came; NaN where there was none
        is_revision : whether labels of these responses were learned before. Revisions are learned, but score no
            member: it has learned the response already

        Raises
        ------
        ValueError
            When there are more labels than `labels_to_refit`: the refit must come first. Nothing was learned.
        """
        if len(correct) > self.labels_to_refit():
            raise ValueError(f"{len(correct)} labels at once, but a refit is due after {self.labels_to_refit()}")
        check_labels(features, correct, weight, None)
        columns = zip(correct.tolist(), weight.tolist(), domain, p_at_arrival.tolist(), strict=True)
        for i, (c, w, name, p) in enumerate(columns):
            row = slice(i, i + 1)
            online = self.online.test_then_train(features[row], correct[row], weight[row])
            predicted = [float(member.raw(features[row], online)[0]) for member in self.members]
            self._score(predicted, c, w, name, is_revision=is_revision)
            if not (math.isnan(p) or is_revision):
                self._score_published(p, c, w, name)
            self.n_labels += 1
            if self.n_labels % PROMOTIONS_EVERY == 0:
                self._promote()

    def _score_published(self, p: float, correct: float, weight: float, domain: str) -> None:
        if domain not in self._published and len(self._published) >= self.settings.max_domains:
            domain = OTHER_DOMAINS
        self._published.setdefault(domain, Tally()).add(p, correct, weight)
        self._touched.add(f"domain/{domain}")

    def _score(self, raws: list[float], correct: float, weight: float, domain: str, *, is_revision: bool) -> None:
        """Let each member learn from the label how good it is; ``raws`` are their uncalibrated predictions."""
        predicted = [
            member.score_and_calibrate(raw, correct, weight, is_revision=is_revision)
            for member, raw in zip(self.members, raws, strict=True)
        ]
        if not math.isnan(predicted[0]):
            self.offsets.update(domain, predicted[0], correct, weight)
            self._touched.add(f"domain/{domain}")
        if not is_revision:
            self._add_evidence([(p - correct) ** 2 for p in predicted], weight)

    # --- champion and challengers

    def _add_evidence(self, losses: list[float], weight: float) -> None:
        before, scale = self.largest_weight.value, self.largest_weight.relative(weight)
        if self.largest_weight.value > before:
            self._restart_evidence()  # bets before this label were too large for a label as heavy as this
        for challenger, loss in zip(self.challengers, losses[1:], strict=True):
            difference = losses[0] - loss
            if challenger.fits is not None and not math.isnan(difference):
                challenger.evidence.add(difference, scale)

    def _promote(self) -> None:
        rule = self.settings.promote_error, self.settings.promote_after_labels
        proved = [c for c in self.challengers if c.evidence.is_enough(*rule)]
        if proved:
            best = max(proved, key=lambda member: member.evidence.log_capital)
            n, gain = best.evidence.n, best.evidence.total / best.evidence.n
            self._make_champion(
                best, f"promoted over {self.champion.name}: Brier score {gain:.4f} lower over {n} labels"
            )
        for challenger in self.challengers:
            if challenger.evidence.n >= self.settings.round_labels:
                challenger.evidence = Evidence()

    def _make_champion(self, member: Member, reason: str) -> None:
        """Make a member the champion: frozen members leave, and all evidence is collected from the start again."""
        self.challengers = [m for m in self.members if m is not member and m.frozen is None]
        self.champion = member
        self._restart_evidence()
        self._store(member, reason)

    def _restart_evidence(self) -> None:
        for member in self.members:
            member.evidence = Evidence()

    def rollback(self, number: int) -> None:
        """Let a stored version predict and estimate again; ValueError when it is not (or no longer) stored.

        The version learns nothing. The other members learn on as challengers and can be promoted over it.
        """
        if number not in self._versions:
            raise ValueError(f"version {number} is not stored; there are {sorted(self._versions)}")
        saved = StoredFit.unpack(self._versions[number])
        member = Member(saved.kind, self.settings.memory_labels, name=f"{saved.kind}@{number}")
        member.fits, member.frozen = saved.fits(), OnlineRegression.restore(saved.online)
        member.calibrator.restore(saved.calibrator)
        self._make_champion(member, f"rolled back to version {number}")

    # --- fits and versions

    def wants_refit(self) -> bool:
        """Whether `refit` is due; it depends only on the number of labels."""
        return self.n_labels >= self._refit_at

    def refit(self, rows: Rows) -> None:
        """Fit the members and check the signal on the newest labelled rows; store the versions.

        ``rows`` are sorted by (event_time, id); rows without label or features are left out. Those with weight 0 teach
        the predictions; estimates and the check of the signal do without them.
        """
        self._refit_at = self.n_labels + min(self.settings.refit_every_labels, max(FIRST_REFIT, self.n_labels // 2))
        usable = np.flatnonzero(~np.isnan(rows.correct) & np.isfinite(rows.features).any(axis=1))
        self.fit_to(_by_domain(rows, usable[-self.settings.max_training_rows :]), "refitted")

    def fit_to(self, labelled: Mapping[str, Sample], reason: str) -> None:
        """Fit the members to labelled rows of domains, unless there are too few right or wrong ones."""
        samples = thinned(labelled)
        right, n = sum(float(s.correct.sum()) for s in samples.values()), sum(map(len, samples.values()))
        if LabelCount(n, right, n - right).missing(self.settings.min_labels):
            return
        learning = [member for member in self.members if member.frozen is None]
        for member in learning:
            member.fits = FoldFits(samples, member.kind, self.settings.seed)
            self._store(member, reason)
        if self.settings.gate_auroc and learning[0].fits:
            counting = learning[0].fits.counting
            enough = self.settings.gate_min_labels
            check = None if counting is None else domains_left_out(counting.all_left_out(), enough)
            self._signal_problem = check.problem(self.settings.gate_auroc) if check else None

    def _store(self, member: Member, reason: str) -> None:
        """Store the present state of a member as a version; before its first fit there is none."""
        if member.fits is None:
            return
        number = self.history[-1].number + 1 if self.history else 1
        online = (member.frozen or self.online).snapshot()
        saved = StoredFit.of(member.fits, online, member.calibrator.snapshot())
        self.history.append(StoredVersion(number, member.kind, len(member.fits), reason, saved.digest, member.metric()))
        self._versions[number] = saved.pack()
        self._touched.add(f"version/{number}")
        member.stored_number = number
        in_use = {m.stored_number for m in self.members}
        for old in [v for v in self.history if v.number not in in_use][: -self.settings.max_versions]:
            self.history.remove(old)
            del self._versions[old.number]
            self._touched.add(f"version/{old.number}")

    def metrics(self) -> list[Metric]:
        """Prequential metrics of the published predictions and of every member (`metrics_of`)."""
        return metrics_of(self._published, [(member.name, member.tally) for member in self.members])

    # --- domains that leave and return

    def take_domain(self, domain: str) -> bytes | None:
        """Remove what is known of one domain alone, and return it for `give_domain`; None where there is nothing."""
        known = self._part(name := f"domain/{domain}")
        if known is not None:
            self._published.pop(domain, None)
            self.offsets.offsets.pop(domain, None)
            self._touched.add(name)
        return known

    def give_domain(self, domain: str, known: bytes) -> None:
        """Take back what `take_domain` returned."""
        self._restore_part(name := f"domain/{domain}", known)
        self._touched.add(name)

    # --- state

    def changes(self) -> dict[str, bytes | None]:
        """Take the parts that changed since the last call, by name; None: delete the part.

        The first call after `restore` from one piece returns all parts, because none was saved by name.
        """
        parts: dict[str, bytes | None] = {"live": self._live()}
        for name in sorted(self._touched):
            parts[name] = self._part(name)
        self._touched.clear()
        return parts

    def snapshot(self) -> bytes:
        """The whole state in one piece."""
        names = [f"domain/{d}" for d in {*self._published, *self.offsets.offsets}]
        names += [f"version/{n}" for n in self._versions]
        return WHOLE.pack({"live": self._live(), **{name: self._part(name) for name in sorted(names)}})

    def _part(self, name: str) -> bytes | None:
        what, _, key = name.partition("/")
        if what == "version":
            return self._versions.get(int(key))
        tally, offset = self._published.get(key), self.offsets.offsets.get(key)
        return DOMAIN.pack([tally and tally.snapshot(), offset]) if tally or offset else None

    def _live(self) -> bytes:
        return Live(
            configured=self.settings.champion,
            numbers=[self.n_labels, self._refit_at, self._signal_problem, self.largest_weight.value],
            members=[member.snapshot() for member in self.members],
            mean_weight=self.offsets.mean_weight.snapshot(),
            online=self.online.snapshot(),
            history=self.history,
        ).packed()

    @classmethod
    def restore(cls, settings: CommitteeSettings, saved: bytes | Mapping[str, bytes]) -> Committee:
        """Make the committee that gave this snapshot, or these parts (`changes`); ValueError for anything else.

        Where the settings have changed, members that they do not name leave, new ones join with a fit to the rows of
        the champion, and a newly named champion becomes champion. Members are fitted again to their stored rows. When
        other versions of the libraries then predict differently, `history` records it as a new version.
        """
        parts = WHOLE.unpack(saved, dict[str, bytes]) if isinstance(saved, bytes) else saved
        live, new = read_live(parts), cls(settings)
        new._touched = {*parts} - {"live"} if isinstance(saved, bytes) else set()
        new.n_labels, new._refit_at, new._signal_problem, largest_weight = live.numbers
        new.largest_weight.restore(largest_weight)
        new.offsets.mean_weight = RunningMean(*live.mean_weight)
        if live.online is not None:
            new.online = OnlineRegression.restore(live.online, settings.min_labels, settings.memory_labels)
        for name in sorted(parts):
            new._restore_part(name, parts[name])
        new.history = [version for version in live.history if version.number in new._versions]
        new._restore_members(live.members, live.configured)
        return new

    def _restore_part(self, name: str, blob: bytes) -> None:
        what, _, key = name.partition("/")
        if what == "version":
            if is_readable(blob):
                self._versions[int(key)] = blob
            else:
                self._touched.add(name)  # it is deleted with the next changes
        elif what == "domain":
            tally, offset = read_domain(blob)
            if tally:
                self._published[key] = tally
            if offset:
                self.offsets.offsets[key] = offset

    def _restore_members(self, saved: list[list[Any]], configured: str) -> None:
        wanted = {member.name: member for member in self.members}
        kept = [member for state in saved if (member := self._restore_member(state, wanted)) is not None]
        members = [*kept, *wanted.values()]
        is_same = saved and kept and kept[0].name == saved[0][0] and configured == self.settings.champion
        self.champion = kept[0] if is_same else next(m for m in members if m.name == self.settings.champion)
        self.challengers = [member for member in members if member is not self.champion]
        samples = next((member.fits.samples for member in kept if member.fits), None)
        for member in wanted.values():
            if samples is not None:
                member.fits = FoldFits(samples, member.kind, self.settings.seed)
                self._store(member, "named in the settings")
        if saved and not is_same:
            self._make_champion(self.champion, "named champion in the settings")
        for member in self.members:
            self._check_reproduced(member)

    def _restore_member(self, state: list[Any], wanted: dict[str, Member]) -> Member | None:
        """Restore a member that the settings name, or a version brought back; members left in ``wanted`` are new."""
        name, _, is_frozen, number = state[:4]
        if not is_frozen and wanted.pop(name, None) is None:
            return None
        member = Member.restore(state, self.settings.memory_labels)
        if number is not None:
            stored = StoredFit.unpack(self._versions[number])
            member.fits = stored.fits()
            member.frozen = OnlineRegression.restore(stored.online) if is_frozen else None
        return member

    def _check_reproduced(self, member: Member) -> None:
        """Store a fit anew whose predictions differ from those it had when it was stored, by other libraries."""
        if member.stored_number is None or member.fits is None:
            return
        stored = StoredFit.unpack(self._versions[member.stored_number])
        if stored.libraries != libraries() and member.fits.digest() != stored.digest:
            self._store(member, f"refitted, predictions differ from those of {stored.libraries}")


def _by_domain(rows: Rows, chosen: np.typing.NDArray[np.intp]) -> dict[str, Sample]:
    """The chosen rows as samples, by domain."""
    names, number = np.unique(rows.domain[chosen], return_inverse=True)
    order = chosen[np.argsort(number, kind="stable")]
    parts = np.split(order, np.cumsum(np.bincount(number, minlength=len(names)))[:-1]) if len(chosen) else []
    return {
        str(name): Sample(rows.features[at], rows.p_correct[at], rows.correct[at], rows.weight[at], domain=str(name))
        for name, at in zip(names, parts, strict=True)
    }
