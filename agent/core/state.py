"""What the pipeline knows between batches, and how it is saved and found again.

Each kind of state is saved under names of its own so that a batch writes only what it touched: the stream as a whole
(``stream``), the parts of each context fingerprint (``context/...``), each domain in a context (``domain/...``), and
each response in flight (``flight/...``). Windows are not saved: they are read back from the rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from driftgauge.models.classify.committee import Committee, CommitteeSettings
from driftgauge.models.estimate.default_estimator import MAX_ROWS, fit_default
from driftgauge.models.estimate.estimators import Estimator, Sample
from driftgauge.models.labels import LabelDelays, Policy
from driftgauge.models.memory import Memory
from driftgauge.models.outputs import Estimate
from driftgauge.models.rows import Rows
from driftgauge.models.series import SeriesKey
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from driftgauge.models.signals.entropy import EntropyVariant
from driftgauge.models.signals.features import FEATURES, SEGMENT_FEATURES
from driftgauge.models.watch.accuracy_watch import AccuracyWatch
from driftgauge.models.watch.drift import DriftMonitor
from driftgauge.models.watch.sequential import budget
from driftgauge.models.windows import Window, WindowSpec, usable

OVERFLOW_DOMAIN = "(other)"
"""The domain that takes the responses of all domains beyond ``max_domains``."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Everything the pipeline can be told; `config/settings.py` documents each for users."""

    windows: WindowSpec = field(default_factory=WindowSpec)
    committee: CommitteeSettings = field(default_factory=CommitteeSettings)
    assembly: AssemblySettings = field(default_factory=AssemblySettings)
    entropy: EntropyVariant = "published"
    segments: bool = False
    min_coverage: float = 0.9
    allowed_lateness_s: float = 0.0
    emit_every_events: int = 200
    emit_every_labels: int = 20
    material_change: float = 0.02
    label_policy: Policy = "latest"
    count_unknown_labels: bool = True
    label_horizon_s: float = 30 * 86_400.0
    max_pending_labels: int = 1_000_000
    confidence_level: float = 0.9
    min_events: int = 30
    refit_estimator_every_labels: int = 200
    max_training_rows: int = 20_000
    detect_drift: bool = True
    drift_delta: float = 0.002
    drift_features: tuple[str, ...] = ("entropy_sum",)
    targets: Mapping[str, float] = field(default_factory=dict)
    default_target: float = 0.8
    false_alarms: float = 0.05
    max_domains: int = 1_000
    max_fingerprints: int = 16
    max_stale_windows: int = 10_000
    warm_start: bool = False
    fitted: bytes | None = None
    predictions: str = "none"
    seed: int = 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of every feature matrix."""
        return SEGMENT_FEATURES if self.segments else FEATURES


class ContextState:
    """What was learned about one context, the ``number``-th that came: its classifiers and its estimator."""

    def __init__(self, settings: PipelineSettings, model: str = "", number: int = 0) -> None:
        self.settings = settings
        self.model = model
        self.number = number
        self.committee = Committee(settings.committee)
        self.labels_since_fit = 0
        self.n_fitted = 0
        self.training: bytes | None = None
        self.is_fit_saved = True
        self.estimator: Estimator = fit_default({}, seed=settings.seed)

    def wants_fit(self) -> bool:
        """Whether enough labels came since the last fit: as many as the settings say, and half of those it looked at.

        So what fits cost for each label does not grow with the number of labels.
        """
        looked_at = min(self.n_fitted, MAX_ROWS)
        return self.labels_since_fit >= max(self.settings.refit_estimator_every_labels, looked_at // 2)

    def fit_estimator(self, rows: Rows) -> None:
        """Fit the estimator to these labelled rows and remember them, so that it can be fitted again."""
        samples = _samples(rows)
        self.training = _pack_samples(samples)
        self.is_fit_saved = False
        self.labels_since_fit = 0
        self._fit(samples)

    def _fit(self, samples: Mapping[str, Sample]) -> None:
        self.n_fitted = sum(map(len, samples.values()))
        self.estimator = fit_default(samples, seed=self.settings.seed)

    def changes(self) -> dict[str, bytes | None]:
        """What must be saved since the last call, by name; the empty name says what the context is."""
        parts: dict[str, bytes | None] = {"": self._head()}
        parts |= {f"committee/{name}": part for name, part in self.committee.changes().items()}
        if not self.is_fit_saved:
            parts["training"] = self.training
        self.is_fit_saved = True
        return parts

    def snapshot(self) -> bytes:
        """Everything in one piece; `restore` takes it."""
        return msgspec.msgpack.encode([self._head(), self.committee.snapshot(), self.training])

    def _head(self) -> bytes:
        return msgspec.msgpack.encode([self.model, self.number, self.labels_since_fit])

    @classmethod
    def restore(cls, settings: PipelineSettings, saved: bytes | Mapping[str, bytes]) -> ContextState:
        """Make the state that gave this snapshot, or these parts (`changes`); ValueError for anything else."""
        committee: bytes | Mapping[str, bytes]
        if isinstance(saved, bytes):
            head, committee, training = msgspec.msgpack.decode(saved, type=tuple[bytes, bytes, bytes | None])
        else:
            head, committee, training = saved[""], under("committee/", saved), saved.get("training")
        model, number, labels_since_fit = msgspec.msgpack.decode(head, type=tuple[str, int, int])
        state = cls(settings, model, number)
        state.committee = Committee.restore(settings.committee, committee)
        if training is not None:
            state.training = training
            state._fit(_unpack_samples(training))
        state.is_fit_saved = not isinstance(saved, bytes)
        state.labels_since_fit = labels_since_fit
        return state


class DomainState:
    """One domain in one context: its window, its detectors, and what was last said about it.

    ``rank`` counts domains in contexts as they came, from 1; it decides the part of the false-alarm budget.
    """

    def __init__(self, settings: PipelineSettings, series: SeriesKey, rank: int) -> None:
        self.series, self.rank = series, rank
        self.window = Window(settings.windows, len(settings.feature_names))
        self.drift = DriftMonitor(delta=settings.drift_delta)
        target = settings.targets.get(series.domain, settings.default_target)
        self.watch = AccuracyWatch(target, budget(settings.false_alarms, rank), settings.confidence_level)
        self.events_since = 0  # since the last look at whether the estimate moved
        self.labels_since = 0
        self.is_changed = False  # since the last estimate
        self.last: Estimate | None = None

    def snapshot(self) -> bytes:
        """State as bytes; the window is rebuilt from the rows, the last estimate from its own."""
        last_key = None if self.last is None else self.last.key
        identity = [self.series.domain, self.series.fingerprint, self.rank]
        since = [self.events_since, self.labels_since, self.is_changed]
        return msgspec.msgpack.encode([identity, since, last_key, self.drift.snapshot(), self.watch.snapshot()])

    @classmethod
    def restore(cls, settings: PipelineSettings, blob: bytes, boundary: float, memory: Memory) -> DomainState:
        """Make the state that gave this snapshot, reading its window and last estimate back from memory."""
        (domain, fingerprint, rank), since, last_key, drift, watch = msgspec.msgpack.decode(blob)
        state = cls(settings, SeriesKey(domain, fingerprint), rank)
        state.events_since, state.labels_since, state.is_changed = since
        state.drift.restore(drift)
        state.watch.restore(watch)
        state.last = memory.estimate(last_key) if last_key else None
        start = boundary - settings.windows.window_s
        state.window.load(memory.window(state.series, start, math.inf, state.window.capacity))
        return state


class State:
    """Everything between batches. ``boundary`` is where the next windows end; -inf before the first response."""

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self.n_responses = 0
        self.n_alerts = 0
        self.n_pending = 0
        self.max_event_time = -math.inf
        self.boundary = -math.inf
        self.counters: Counter[str] = Counter()
        self.label_delays = LabelDelays()
        self.stale: dict[tuple[SeriesKey, float], None] = {}
        self.contexts: dict[str, ContextState] = {}
        self.domains: dict[SeriesKey, DomainState] = {}
        self.names: set[str] = set()
        self.assembly = Assembly(settings.assembly, settings.entropy)
        self.touched_contexts: set[str] = set()
        self.touched_domains: set[SeriesKey] = set()

    @property
    def watermark(self) -> float:
        """How far event time is known to have advanced."""
        return self.max_event_time - self.settings.allowed_lateness_s

    @property
    def has_news(self) -> bool:
        """Whether something happened that no estimate speaks of yet."""
        return bool(self.stale) or any(domain.is_changed for domain in self.domains.values())

    def domain_name(self, domain: str) -> str:
        """The domain itself, or `OVERFLOW_DOMAIN` when there are too many already."""
        if domain in self.names:
            return domain
        if len(self.names) >= self.settings.max_domains:
            self.counters["domain_overflow"] += 1
            return OVERFLOW_DOMAIN
        self.names.add(domain)
        return domain

    def domain(self, key: SeriesKey) -> DomainState:
        """The state of a domain in a context, made when it is new; it counts as touched."""
        self.touched_domains.add(key)
        if key not in self.domains:
            self.domains[key] = DomainState(self.settings, key, rank=len(self.domains) + 1)
        return self.domains[key]

    def changes(self) -> dict[str, bytes | None]:
        """What must be saved after this batch; forgets that it was touched."""
        changed: dict[str, bytes | None] = {"stream": self._stream()}
        for fingerprint in sorted(self.touched_contexts):
            changed |= context_parts(fingerprint, self.contexts[fingerprint])
        changed |= {_domain_name(k): self.domains[k].snapshot() for k in sorted(self.touched_domains)}
        flights = self.assembly.snapshot(self.assembly.touched)
        changed |= {f"flight/{i}": flights[i] for i in sorted(flights)}
        for touched in (self.touched_contexts, self.touched_domains, self.assembly.touched):
            touched.clear()
        return changed

    def _stream(self) -> bytes:
        scalars = [self.n_responses, self.n_alerts, self.n_pending, self.max_event_time, self.boundary]
        counters, delays = dict(sorted(self.counters.items())), [self.label_delays.counts, self.label_delays.total_s]
        stale = [(series.domain, series.fingerprint, end) for series, end in self.stale]
        return msgspec.msgpack.encode([scalars, counters, delays, stale, self.assembly.n_news])

    @classmethod
    def resume(cls, settings: PipelineSettings, memory: Memory) -> State:
        """Find the state again that was last saved; a new one when nothing was."""
        state, saved = cls(settings), memory.state("")
        if "stream" not in saved:
            return state
        scalars, counters, delays, stale, state.assembly.n_news = msgspec.msgpack.decode(saved["stream"])
        state.n_responses, state.n_alerts, state.n_pending, state.max_event_time, state.boundary = scalars
        state.counters, state.label_delays = Counter(counters), LabelDelays(*delays)
        state.stale = dict.fromkeys((SeriesKey(domain, fingerprint), end) for domain, fingerprint, end in stale)
        restored = {f: ContextState.restore(settings, parts) for f, parts in contexts_saved(saved).items()}
        state.contexts = dict(sorted(restored.items(), key=lambda item: item[1].number))
        for blob in under("domain/", saved).values():
            domain = DomainState.restore(settings, blob, state.boundary, memory)
            state.domains[domain.series] = domain
            state.names.add(domain.series.domain)
        state.names.discard(OVERFLOW_DOMAIN)
        state.assembly.restore(under("flight/", saved))
        return state


def _domain_name(series: SeriesKey) -> str:
    return f"domain/{series.fingerprint}/{series.domain}"


def context_parts(fingerprint: str, context: ContextState) -> dict[str, bytes | None]:
    """What must be saved of a context, under the names that the store knows it by."""
    return {f"context/{fingerprint}/{name}": part for name, part in context.changes().items()}


def context_model(parts: Mapping[str, bytes]) -> str:
    """The name of the model of a saved context."""
    return str(msgspec.msgpack.decode(parts[""])[0])


def contexts_saved(saved: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """The saved parts of every context, by fingerprint; `ContextState.restore` takes them."""
    found: dict[str, dict[str, bytes]] = {}
    for name, part in under("context/", saved).items():
        fingerprint, _, rest = name.partition("/")
        found.setdefault(fingerprint, {})[rest] = part
    return found


def under(prefix: str, saved: Mapping[str, bytes]) -> dict[str, bytes]:
    """What was saved under names that begin so, by the rest of the name."""
    return {name.removeprefix(prefix): saved[name] for name in sorted(saved) if name.startswith(prefix)}


def _samples(rows: Rows) -> dict[str, Sample]:
    """Labelled rows by domain."""
    rows_usable = usable(rows.features)
    return {
        str(domain): Sample(rows.features[at], rows.p_correct[at], rows.correct[at], rows.weight[at])
        for domain in np.unique(rows.domain)
        if (at := (rows.domain == domain) & rows_usable).any()
    }


def _pack_samples(samples: Mapping[str, Sample]) -> bytes:
    return msgspec.msgpack.encode(
        {
            domain: [
                s.features.shape[1],
                s.features.tobytes(),
                s.p_correct.tobytes(),
                s.correct.tobytes(),
                s.weight.tobytes(),
            ]
            for domain, s in samples.items()
        }
    )


def _unpack_samples(blob: bytes) -> dict[str, Sample]:
    return {domain: _unpack_sample(*packed) for domain, packed in msgspec.msgpack.decode(blob).items()}


def _unpack_sample(width: int, features: bytes, p_correct: bytes, correct: bytes, weight: bytes) -> Sample:
    return Sample(
        np.frombuffer(features, np.float32).reshape(-1, width),
        np.frombuffer(p_correct),
        np.frombuffer(correct),
        np.frombuffer(weight),
    )
