"""State of one context: its classifiers, its estimator, and how they are saved and restored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.classify.committee import Committee
from driftgauge.models.estimate.catalogue import DEFAULT_ESTIMATOR, new_estimator
from driftgauge.models.estimate.default_estimator import MAX_ROWS
from driftgauge.models.estimate.estimators import Estimator, Sample
from driftgauge.models.rows import Rows
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.signals.feature_sets import in_width
from driftgauge.models.windows import usable

HEAD = SavedFormat("context")
TRAINING = SavedFormat("training rows of an estimator")
WHOLE = SavedFormat("context in one piece")


class ContextState:
    """What was learned about one context: its classifiers and its estimator. ``number`` counts contexts by arrival."""

    def __init__(self, settings: PipelineSettings, model: str = "", number: int = 0) -> None:
        self.settings = settings
        self.model = model
        self.number = number
        self.committee = Committee(settings.committee)
        self.labels_since_fit = 0
        self.n_fitted = 0
        self.training: bytes | None = None
        self.is_fit_saved = True
        self._samples: Mapping[str, Sample] = {}
        self._estimator: Estimator | None = None

    @property
    def estimator(self) -> Estimator:
        """The estimator fitted to the samples; it is fitted when it is first used."""
        if self._estimator is None:
            self._estimator = new_estimator(DEFAULT_ESTIMATOR, self._samples, seed=self.settings.seed)
        return self._estimator

    def wants_fit(self) -> bool:
        """Whether enough labels came since the last fit: as many as the settings demand, and half of those it used.

        The cost of fits for each label therefore does not grow with the number of labels.
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
        self._samples, self._estimator = samples, None

    def changes(self) -> dict[str, bytes | None]:
        """What must be saved since the last call, by name; the empty name holds the identity of the context."""
        parts: dict[str, bytes | None] = {"": self._head()}
        parts |= {f"committee/{name}": part for name, part in self.committee.changes().items()}
        if not self.is_fit_saved:
            parts["training"] = self.training
        self.is_fit_saved = True
        return parts

    def snapshot(self) -> bytes:
        """Everything in one piece; `restore` takes it."""
        return WHOLE.pack([self._head(), self.committee.snapshot(), self.training])

    def _head(self) -> bytes:
        return HEAD.pack([self.model, self.number, self.labels_since_fit])

    @classmethod
    def restore(cls, settings: PipelineSettings, saved: bytes | Mapping[str, bytes]) -> ContextState:
        """Make the state that gave this snapshot, or these parts (`changes`); ValueError for anything else."""
        committee: bytes | Mapping[str, bytes]
        if isinstance(saved, bytes):
            head, committee, training = WHOLE.unpack(saved, tuple[bytes, bytes, bytes | None])
        else:
            head, committee, training = saved[""], under("committee/", saved), saved.get("training")
        model, number, labels_since_fit = HEAD.unpack(head, tuple[str, int, int])
        state = cls(settings, model, number)
        state.committee = Committee.restore(settings.committee, committee)
        if training is not None:
            state.training = training
            state._fit(_unpack_samples(training, settings.features.width))
        state.is_fit_saved = not isinstance(saved, bytes)
        state.labels_since_fit = labels_since_fit
        return state


def context_name(fingerprint: str) -> str:
    """The name that the store knows a context by."""
    return f"context/{fingerprint}"


def context_parts(fingerprint: str, context: ContextState) -> dict[str, bytes | None]:
    """What must be saved of a context, under the names that the store knows it by."""
    return {f"{context_name(fingerprint)}/{name}": part for name, part in context.changes().items()}


def context_model(parts: Mapping[str, bytes]) -> str:
    """The name of the model of a saved context."""
    return str(HEAD.unpack(parts[""])[0])


def contexts_saved(saved: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """The saved parts of every context, by fingerprint; `ContextState.restore` takes them."""
    found: dict[str, dict[str, bytes]] = {}
    for name, part in under("context/", saved).items():
        fingerprint, _, rest = name.partition("/")
        found.setdefault(fingerprint, {})[rest] = part
    return found


def under(prefix: str, saved: Mapping[str, bytes]) -> dict[str, bytes]:
    """The saved parts whose names begin with this prefix, by the rest of the name."""
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
    return TRAINING.pack(
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


def _unpack_samples(blob: bytes, width: int) -> dict[str, Sample]:
    """The rows, with the columns of the set that has this width."""
    return {domain: _unpack_sample(width, *packed) for domain, packed in TRAINING.unpack(blob).items()}


def _unpack_sample(
    width: int, saved_width: int, features: bytes, p_correct: bytes, correct: bytes, weight: bytes
) -> Sample:
    return Sample(
        in_width(np.frombuffer(features, np.float32).reshape(-1, saved_width), width),
        np.frombuffer(p_correct),
        np.frombuffer(correct),
        np.frombuffer(weight),
    )
