"""The champion and its challengers: who predicts, who is tried beside it, and what they have proved.

A `Committee` belongs to one context fingerprint and is all that the pipeline knows of classifiers. Every label is
predicted by every member first, then learned (test-then-train). What is decided, and when, depends on the labels and
their order only: refits and promotions happen at label counts, never at batch boundaries. Bounds: ``max_domains``
tallies, ``max_versions`` stored versions with up to ``max_training_rows`` rows each, one block of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.calibration import DomainOffsets, RunningMean
from driftgauge.models.classify.committee_record import Live, metrics_of, read_domain, read_live
from driftgauge.models.classify.gate import leave_one_domain_out
from driftgauge.models.classify.members import CommitteeSettings, JudgedLabel, Member, Version
from driftgauge.models.classify.prequential import Metric, Tally
from driftgauge.models.classify.promotion import Evidence
from driftgauge.models.classify.refitted import Refitted
from driftgauge.models.rows import Rows

__all__ = ["Committee", "CommitteeSettings", "Metric", "Version"]

OTHER_DOMAINS = "(other)"
BLOCK_LABELS = 50
"""Members that do not learn from every label are scored, and promotions decided, each time this many have come."""
FIRST_REFIT = 50


class Committee:
    """Champion and challengers of one context.

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
        self.version = 0
        self.n_labels = 0
        self.champion = self._member(settings.champion)
        self.challengers = [self._member(kind) for kind in settings.challengers]
        self.offsets = DomainOffsets(settings.memory_labels, settings.max_domains)
        self.history: list[Version] = []
        self._problem: str | None = None
        self._published: dict[str, Tally] = {}
        self._versions: dict[int, bytes] = {}
        self._block: list[JudgedLabel] = []
        self._refit_at = FIRST_REFIT
        self._touched: set[str] = set()

    def _member(self, kind: str) -> Member:
        return Member(kind, self.settings.classifier, self.settings.memory_labels)

    @property
    def members(self) -> list[Member]:
        """The champion, then the challengers."""
        return [self.champion, *self.challengers]

    # --- predicting ------------------------------------------------------------------------------------------

    def not_ready(self) -> str | None:
        """Why the champion cannot predict yet."""
        return self.champion.classifier.not_ready()

    def predict_proba(self, features: Float32s, domain: Sequence[str] | None = None) -> Float64s:
        """Calibrated P(correct) of n responses, (n,); NaN while not ready.

        Told the domains, it adds what their labels have taught about each (`DomainOffsets`).
        """
        p = self.champion.calibrator.apply(self.champion.classifier.predict_proba(features))
        return p if domain is None or not self.settings.correct_domains else self.offsets.apply(p, domain)

    def signal_problem(self) -> str | None:
        """Why estimates from the signal are invalid, by the last check of the gate; None: fine, or not known."""
        return self._problem

    # --- labels ----------------------------------------------------------------------------------------------

    def labels_to_refit(self) -> int:
        """How many labels may still come before `refit` must be called."""
        return self._refit_at - self.n_labels

    def score_and_learn(
        self, features: Float32s, correct: Float64s, weight: Float64s, domain: Sequence[str], p_at_arrival: Float64s
    ) -> None:
        """Take n labels in order: score every member, then let it learn.

        ``p_at_arrival`` is what was published when each response came (NaN: nothing). ValueError, and nothing is
        learned, when labels go beyond the next refit (`labels_to_refit`): that must come first.
        """
        if len(correct) > self.labels_to_refit():
            raise ValueError(f"{len(correct)} labels at once, but a refit is due after {self.labels_to_refit()}")
        columns = zip(correct.tolist(), weight.tolist(), domain, p_at_arrival.tolist(), strict=True)
        for i, (c, w, name, p) in enumerate(columns):
            label = JudgedLabel(features[i : i + 1], c, w, name)
            if p == p:
                self._judge_published(p, label)
            self._take(label, correct[i : i + 1], weight[i : i + 1])

    def _judge_published(self, p: float, label: JudgedLabel) -> None:
        domain = label.domain
        if domain not in self._published and len(self._published) >= self.settings.max_domains:
            domain = OTHER_DOMAINS
        self._published.setdefault(domain, Tally()).add(p, label.correct, label.weight)
        self._touched.add(f"domain/{domain}")

    def _take(self, label: JudgedLabel, correct: Float64s, weight: Float64s) -> None:
        for member in self.members:
            if member.is_online:
                raw = member.classifier.test_then_train(label.features, correct, weight)
                self._judge(member, float(raw[0]), label)
        self.n_labels += 1
        self.version += self.champion.is_online
        if self.challengers or not self.champion.is_online:
            self._block.append(label)
            if len(self._block) == BLOCK_LABELS:
                self._close_block()

    def _judge(self, member: Member, raw: float, label: JudgedLabel) -> None:
        p = member.judge(raw, label)
        if member is self.champion and p == p:
            self.offsets.update(label.domain, p, label.correct, label.weight)
            self._touched.add(f"domain/{label.domain}")

    # --- champion and challengers ----------------------------------------------------------------------------

    def _close_block(self) -> None:
        """Score the members that were not yet, weigh the evidence of each label, promote who has proved better."""
        if not self._block:
            return
        features = np.concatenate([label.features for label in self._block])
        for member in self.members:
            if not member.is_online:
                raws = member.classifier.predict_proba(features).tolist()
                for raw, label in zip(raws, self._block, strict=True):
                    self._judge(member, raw, label)
        for label in self._block:
            self._weigh(label)
        self._block = []
        self.version += not self.champion.is_online
        self._promote()

    def _weigh(self, label: JudgedLabel) -> None:
        loss = {name: (p - label.correct) ** 2 for name, p in label.predicted.items()}
        for challenger in self.challengers:
            difference = loss[self.champion.name] - loss[challenger.name]
            if difference == difference:
                challenger.evidence.add(difference, label.weight)

    def _promote(self) -> None:
        rule = self.settings.promote_error, self.settings.promote_after_labels
        proved = [c for c in self.challengers if c.evidence.is_enough(*rule)]
        if proved:
            best = max(proved, key=lambda member: member.evidence.log_capital)
            n, gain = best.evidence.n, best.evidence.total / best.evidence.n
            self._crown(best, f"promoted over {self.champion.name}: Brier score {gain:.4f} lower over {n} labels")
        for challenger in self.challengers:
            if challenger.evidence.n >= self.settings.round_labels:
                challenger.evidence = Evidence()

    def _crown(self, member: Member, reason: str) -> None:
        """Make a member the champion; frozen ones leave, and everybody's evidence starts anew."""
        self.challengers = [m for m in self.members if m is not member and not m.is_frozen]
        self.champion = member
        for other in self.members:
            other.evidence = Evidence()
        self.version += 1
        self._store(member, reason)

    def rollback(self, number: int) -> None:
        """Let a stored version predict again, as it was; ValueError when it is not (or no longer) stored.

        It learns nothing; the members go on learning as challengers, and take over when they prove better.
        """
        if number not in self._versions:
            raise ValueError(f"version {number} is not stored; there are {sorted(self._versions)}")
        self._close_block()
        kept = msgspec.msgpack.decode(self._versions[number])
        member = self._member(self.settings.champion)
        member.bring_back(number, kept)
        self._crown(member, f"rolled back to version {number}")

    # --- refits and versions ---------------------------------------------------------------------------------

    def wants_refit(self) -> bool:
        """Whether labelled rows are wanted now: a function of the labels seen."""
        return self.n_labels >= self._refit_at

    def refit(self, rows: Rows) -> None:
        """Fit the refitted members and check the signal on the newest labelled rows; store the versions.

        Rows are sorted by (event_time, id); those without label or features are left out.
        """
        self._close_block()
        self._refit_at = self.n_labels + min(self.settings.refit_every_labels, max(FIRST_REFIT, self.n_labels // 2))
        usable = np.flatnonzero(~np.isnan(rows.correct) & np.isfinite(rows.features).any(axis=1))
        newest = usable[-self.settings.max_training_rows :]
        labels = rows.features[newest], rows.correct[newest], rows.weight[newest]
        for member in self.members:
            self._refit_member(member, *labels)
        if self.settings.gate_auroc:
            check = leave_one_domain_out(*labels, rows.domain[newest], self.settings.gate_min_labels)
            self._problem = check.problem(self.settings.gate_auroc) if check else None
        self.version += 1

    def _refit_member(self, member: Member, features: Float32s, correct: Float64s, weight: Float64s) -> None:
        if isinstance(member.classifier, Refitted) and not member.is_frozen:
            before, member.classifier.settings = member.classifier.version, self.settings.classifier
            member.classifier.refit(features, correct, weight)
            if member.classifier.version > before:
                self._store(member, "refitted")
        elif member.is_online and member.classifier.not_ready() is None:
            self._store(member, "checkpoint")

    def _store(self, member: Member, reason: str) -> None:
        number = self.history[-1].number + 1 if self.history else 1
        record, kept = member.version(number, reason)
        self.history.append(record)
        self._versions[number] = msgspec.msgpack.encode(kept)
        self._touched.add(f"version/{number}")
        if not member.is_online:
            member.stored = number
        in_use = {m.stored for m in self.members}
        for old in [v for v in self.history if v.number not in in_use][: -self.settings.max_versions]:
            self.history.remove(old)
            del self._versions[old.number]
            self._touched.add(f"version/{old.number}")

    # --- metrics ---------------------------------------------------------------------------------------------

    def metrics(self) -> list[Metric]:
        """Prequential metrics of what was published and of every member (`metrics_of`)."""
        return metrics_of(self._published, [(member.name, member.tally) for member in self.members])

    # --- state -----------------------------------------------------------------------------------------------

    def changes(self) -> dict[str, bytes | None]:
        """What must be saved since the last call, by name; None: delete it. Forgets that it was touched.

        All of it the first time after `restore` from one piece, which was never saved by name.
        """
        parts: dict[str, bytes | None] = {"live": self._live()}
        for name in sorted(self._touched):
            parts[name] = self._part(name)
        self._touched.clear()
        return parts

    def snapshot(self) -> bytes:
        """Everything in one piece."""
        names = [f"domain/{d}" for d in {*self._published, *self.offsets.offsets}]
        names += [f"version/{n}" for n in self._versions]
        return msgspec.msgpack.encode({"live": self._live(), **{name: self._part(name) for name in sorted(names)}})

    def _part(self, name: str) -> bytes | None:
        what, _, key = name.partition("/")
        if what == "version":
            return self._versions.get(int(key))
        tally = self._published.get(key)
        return msgspec.msgpack.encode([tally and tally.snapshot(), self.offsets.offsets.get(key)])

    def _live(self) -> bytes:
        block = [[b.features.tobytes(), b.correct, b.weight, b.domain, b.predicted] for b in self._block]
        return Live(
            configured=self.settings.champion,
            numbers=[self.version, self.n_labels, self._refit_at, self._problem],
            members=[member.snapshot() for member in self.members],
            mean_weight=self.offsets.mean_weight.snapshot(),
            block=block,
            history=self.history,
        ).packed()

    @classmethod
    def restore(cls, settings: CommitteeSettings, saved: bytes | Mapping[str, bytes]) -> Committee:
        """Make the committee that gave this snapshot, or these parts (`changes`); ValueError for anything else.

        Where the settings have changed, members no longer wanted leave and new ones join; a champion newly named takes
        over. Refitted members fit again to their stored rows; should other library versions give other predictions,
        the version number grows and `history` says so.
        """
        parts = msgspec.msgpack.decode(saved, type=dict[str, bytes]) if isinstance(saved, bytes) else saved
        live, new = read_live(parts), cls(settings)
        new._touched = {*parts} - {"live"} if isinstance(saved, bytes) else set()
        new.version, new.n_labels, new._refit_at, new._problem = live.numbers
        new.history = live.history
        new.offsets.mean_weight = RunningMean(*live.mean_weight)
        for name in sorted(parts):
            new._restore_part(name, parts[name])
        new._restore_members(live.members, live.configured)
        for features, correct, weight, domain, predicted in live.block:
            row = np.frombuffer(features, dtype=np.float32)[None]
            new._block.append(JudgedLabel(row, correct, weight, domain, predicted))
        return new

    def _restore_part(self, name: str, blob: bytes) -> None:
        what, _, key = name.partition("/")
        if what == "version":
            self._versions[int(key)] = blob
        elif what == "domain":
            tally, offset = read_domain(blob)
            if tally:
                self._published[key] = tally
            if offset:
                self.offsets.offsets[key] = offset

    def _restore_members(self, saved: list[list[Any]], configured: str) -> None:
        wanted = {member.name: member for member in self.members}
        restored = [self._restore_member(state, wanted) for state in saved]
        self.champion = restored[0] or self.champion
        self.challengers = [m for m in restored[1:] if m] + [m for m in wanted.values() if m is not self.champion]
        if configured != self.settings.champion:
            named = [m for m in self.members if m.name == self.settings.champion]
            self._crown(named[0], "named champion in the settings")
        for member in self.members:
            if isinstance(member.classifier, Refitted) and not member.classifier.is_reproduced:
                self.version += 1
                self._store(member, f"fitted again, was fitted with {member.classifier.fitted_with}: other predictions")

    def _restore_member(self, state: list[Any], wanted: dict[str, Member]) -> Member | None:
        """Restore one that is still wanted, or is a version brought back; what remains in ``wanted`` is new."""
        name, is_frozen, stored = state[:3]
        member = self._member(name.partition("@")[0]) if is_frozen else wanted.pop(name, None)
        if member is not None:
            fit = None if stored is None else msgspec.msgpack.decode(self._versions[stored])[0]
            member.restore(state, self.settings.classifier, fit)
        return member
