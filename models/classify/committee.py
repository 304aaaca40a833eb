"""The committee of classifiers of one context: a champion that predicts, and challengers that are tried beside it.

The pipeline sees classifiers only through a `Committee`. Every member predicts a response before it learns the label
of that response (test-then-train). Refits and promotions depend on the labels and their order only: they happen at
label counts, never at batch boundaries. Bounds: ``max_domains`` tallies, ``max_versions`` stored versions with up to
``max_training_rows`` rows each, one block of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float32s, Float64s
from driftgauge.models.classify.calibration import DomainOffsets, RunningMean
from driftgauge.models.classify.committee_record import DOMAIN, Live, metrics_of, read_domain, read_live
from driftgauge.models.classify.gate import domains_left_out
from driftgauge.models.classify.members import CommitteeSettings, JudgedLabel, Member, StoredVersion
from driftgauge.models.classify.prequential import Metric, Tally
from driftgauge.models.classify.promotion import Evidence
from driftgauge.models.classify.refitted import Refitted
from driftgauge.models.label_weights import LargestWeight
from driftgauge.models.rows import Rows
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.signals.feature_sets import in_width

__all__ = ["Committee", "CommitteeSettings", "Metric", "StoredVersion"]

OTHER_DOMAINS = "(other)"
BLOCK_LABELS = 50
"""Each time this many labels have come, refitted members are scored and promotions are decided."""
FIRST_REFIT = 50  # labels

VERSION = SavedFormat("classifier version")
WHOLE = SavedFormat("committee in one piece")


class Committee:
    """Champion and challengers of one context.

    Attributes
    ----------
    classifier_version : grows whenever what `predict_proba` returns may have changed
    n_labels : labels taken so far
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
        self.classifier_version = 0
        self.n_labels = 0
        self.champion = self._member(settings.champion)
        self.challengers = [self._member(kind) for kind in settings.challengers]
        self.offsets = DomainOffsets(settings.memory_labels, settings.max_domains)
        self.largest_weight = LargestWeight(settings.smallest_inclusion_probability)
        self.history: list[StoredVersion] = []
        self._signal_problem: str | None = None
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

    # --- predicting

    def not_ready(self) -> str | None:
        """Why the champion cannot predict yet."""
        return self.champion.classifier.not_ready()

    def predict_proba(self, features: Float32s, domain: str | Sequence[str] | None = None) -> Float64s:
        """Calibrated P(correct) of n responses, (n,); NaN while not ready.

        With ``domain``, one for all or one for each, the offsets learned from its labels are added (`DomainOffsets`).
        """
        p = self.champion.calibrator.apply(self.champion.classifier.predict_proba(features))
        return p if domain is None or not self.settings.correct_domains else self.offsets.apply(p, domain)

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
        """Take n labels in order: score every member, then let it learn.

        Parameters
        ----------
        p_at_arrival : (n,) probabilities published when the responses came; NaN where there was none
        is_revision : whether labels of these responses were learned before. Members learn a revision but are not
            scored by it: they have learned the response already

        Raises
        ------
        ValueError
            When there are more labels than `labels_to_refit`: the refit must come first. Nothing was learned.
        """
        if len(correct) > self.labels_to_refit():
            raise ValueError(f"{len(correct)} labels at once, but a refit is due after {self.labels_to_refit()}")
        columns = zip(correct.tolist(), weight.tolist(), domain, p_at_arrival.tolist(), strict=True)
        for i, (c, w, name, p) in enumerate(columns):
            label = JudgedLabel(features[i : i + 1], c, w, name, is_revision=is_revision)
            if p == p and not is_revision:
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
        self.classifier_version += self.champion.is_online
        if not label.is_revision and (self.challengers or not self.champion.is_online):
            self._block.append(label)
            if len(self._block) == BLOCK_LABELS:
                self._close_block()

    def _judge(self, member: Member, raw: float, label: JudgedLabel) -> None:
        p = member.judge(raw, label)
        if member is self.champion and p == p:
            self.offsets.update(label.domain, p, label.correct, label.weight)
            self._touched.add(f"domain/{label.domain}")

    # --- champion and challengers

    def _close_block(self) -> None:
        """Score the refitted members, add the evidence of each label, promote a challenger that has proved better."""
        if not self._block:
            return
        width = self._block[-1].features.shape[1]  # after a restart, older labels may have another set of features
        features = np.concatenate([in_width(label.features, width) for label in self._block])
        for member in self.members:
            if not member.is_online:
                raws = member.classifier.predict_proba(features).tolist()
                for raw, label in zip(raws, self._block, strict=True):
                    self._judge(member, raw, label)
        for label in self._block:
            self._add_evidence(label)
        self._block = []
        self.classifier_version += not self.champion.is_online
        self._promote()

    def _add_evidence(self, label: JudgedLabel) -> None:
        before, scale = self.largest_weight.value, self.largest_weight.relative(label.weight)
        if self.largest_weight.value > before:
            self._restart_evidence()  # bets before this label were too large for a label as heavy as this
        loss = {name: (p - label.correct) ** 2 for name, p in label.predicted.items()}
        for challenger in self.challengers:
            difference = loss[self.champion.name] - loss[challenger.name]
            if difference == difference:
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
        self.challengers = [m for m in self.members if m is not member and not m.is_frozen]
        self.champion = member
        self._restart_evidence()
        self.classifier_version += 1
        self._store(member, reason)

    def _restart_evidence(self) -> None:
        for member in self.members:
            member.evidence = Evidence()

    def rollback(self, number: int) -> None:
        """Let a stored version predict again, as it was; ValueError when it is not (or no longer) stored.

        The version learns nothing. The other members learn on as challengers and can be promoted over it.
        """
        if number not in self._versions:
            raise ValueError(f"version {number} is not stored; there are {sorted(self._versions)}")
        self._close_block()
        saved = VERSION.unpack(self._versions[number])
        member = self._member(self.settings.champion)
        member.bring_back(number, saved)
        self._make_champion(member, f"rolled back to version {number}")

    # --- refits and versions

    def wants_refit(self) -> bool:
        """Whether `refit` is due; it depends only on the number of labels."""
        return self.n_labels >= self._refit_at

    def refit(self, rows: Rows) -> None:
        """Fit the refitted members and check the signal on the newest labelled rows; store the versions.

        ``rows`` are sorted by (event_time, id); rows without label or features are left out.
        """
        self._close_block()
        self._refit_at = self.n_labels + min(self.settings.refit_every_labels, max(FIRST_REFIT, self.n_labels // 2))
        usable = np.flatnonzero(~np.isnan(rows.correct) & np.isfinite(rows.features).any(axis=1))
        newest = usable[-self.settings.max_training_rows :]
        labels = rows.features[newest], rows.correct[newest], rows.weight[newest]
        for member in self.members:
            self._refit_member(member, *labels)
        if self.settings.gate_auroc:
            check = domains_left_out(*labels, rows.domain[newest], self.settings.gate_min_labels)
            self._signal_problem = check.problem(self.settings.gate_auroc) if check else None
        self.classifier_version += 1

    def _refit_member(self, member: Member, features: Float32s, correct: Float64s, weight: Float64s) -> None:
        if isinstance(member.classifier, Refitted) and not member.is_frozen:
            before, member.classifier.settings = member.classifier.n_updates, self.settings.classifier
            member.classifier.refit(features, correct, weight)
            if member.classifier.n_updates > before:
                self._store(member, "refitted")
        elif member.is_online and member.classifier.not_ready() is None:
            self._store(member, "checkpoint")

    def _store(self, member: Member, reason: str) -> None:
        number = self.history[-1].number + 1 if self.history else 1
        version, saved = member.stored_version(number, reason)
        self.history.append(version)
        self._versions[number] = VERSION.pack(saved)
        self._touched.add(f"version/{number}")
        if not member.is_online:
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
        for label in self._block:
            if label.domain == domain:
                label.domain = OTHER_DOMAINS
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
        block = [[b.features.tobytes(), b.correct, b.weight, b.domain, b.predicted] for b in self._block]
        return Live(
            configured=self.settings.champion,
            numbers=[
                self.classifier_version,
                self.n_labels,
                self._refit_at,
                self._signal_problem,
                self.largest_weight.value,
            ],
            members=[member.snapshot() for member in self.members],
            mean_weight=self.offsets.mean_weight.snapshot(),
            block=block,
            history=self.history,
        ).packed()

    @classmethod
    def restore(cls, settings: CommitteeSettings, saved: bytes | Mapping[str, bytes]) -> Committee:
        """Make the committee that gave this snapshot, or these parts (`changes`); ValueError for anything else.

        Where the settings have changed, members that they do not name leave, new ones join, and a newly named champion
        becomes champion. Refitted members are fitted again to their stored rows. When other versions of the libraries
        then predict differently, `classifier_version` grows and `history` records it.
        """
        parts = WHOLE.unpack(saved, dict[str, bytes]) if isinstance(saved, bytes) else saved
        live, new = read_live(parts), cls(settings)
        new._touched = {*parts} - {"live"} if isinstance(saved, bytes) else set()
        new.classifier_version, new.n_labels, new._refit_at, new._signal_problem, largest_weight = live.numbers
        new.largest_weight.restore(largest_weight)
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
            self._make_champion(named[0], "named champion in the settings")
        for member in self.members:
            if isinstance(member.classifier, Refitted) and not member.classifier.is_reproduced:
                self.classifier_version += 1
                self._store(member, f"refitted, predictions differ from those of {member.classifier.fitted_with}")

    def _restore_member(self, state: list[Any], wanted: dict[str, Member]) -> Member | None:
        """Restore a member that the settings name, or a version brought back; members left in ``wanted`` are new."""
        name, is_frozen, stored_number = state[:3]
        member = self._member(name.partition("@")[0]) if is_frozen else wanted.pop(name, None)
        if member is not None:
            fit = None if stored_number is None else VERSION.unpack(self._versions[stored_number])[0]
            member.restore(state, self.settings.classifier, fit)
        return member
