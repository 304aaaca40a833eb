"""How a classifier version is saved: as the labelled rows that it was fitted to, from which it is fitted again.

Nothing that a library fitted is saved, so another version of it cannot make a store unreadable; it may predict
differently, which the digest shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from driftgauge.models.classify.fits import libraries
from driftgauge.models.estimate.estimators import Sample
from driftgauge.models.estimate.fold_fits import FoldFits
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.signals.feature_sets import in_width


def _without_domains(_: Any) -> Any:
    raise TypeError("rows without domains, from which no estimate can be made")


VERSION = SavedFormat("classifier version", (_without_domains,), since="0.2.0")
"""Format 1 held rows without their domains: it cannot be brought to format 2 (`is_readable`)."""


class StoredFit(NamedTuple):
    """A stored version: its rows by domain, what it had learned beside them, and how to check that it is the same.

    Attributes
    ----------
    samples : by domain: width, features, correct, weight
    online, calibrator : snapshots of the online regression and of the calibrator
    digest, libraries : of the predictions when it was stored
    """

    kind: str
    seed: int
    samples: dict[str, list[Any]]
    online: bytes
    calibrator: list[float]
    digest: str
    libraries: dict[str, str]

    @classmethod
    def of(cls, fits: FoldFits, online: bytes, calibrator: list[float]) -> StoredFit:
        """What is stored of these fits."""
        samples = {domain: _packed(sample) for domain, sample in fits.samples.items()}
        return cls(fits.kind, fits.seed, samples, online, calibrator, fits.digest(), libraries())

    @classmethod
    def unpack(cls, blob: bytes) -> StoredFit:
        """What `pack` made; ValueError for anything else, such as a version that `is_readable` refuses."""
        return cls(*VERSION.unpack(blob))

    def pack(self) -> bytes:
        """As bytes."""
        return VERSION.pack(list(self))

    def fits(self) -> FoldFits:
        """The fits to the rows."""
        return FoldFits(
            {domain: _sample(domain, *packed) for domain, packed in self.samples.items()}, self.kind, self.seed
        )


def is_readable(blob: bytes) -> bool:
    """Whether `StoredFit.unpack` reads this version: an older driftgauge stored versions without domains."""
    return not VERSION.is_old(blob)


def _packed(sample: Sample) -> list[Any]:
    features = sample.features.astype(np.float32)
    return [features.shape[1], features.tobytes(), sample.correct.tobytes(), sample.weight.tobytes()]


def _sample(domain: str, width: int, features: bytes, correct: bytes, weight: bytes) -> Sample:
    rows = np.frombuffer(features, np.float32).reshape(-1, width)
    return Sample(rows, np.full(len(rows), np.nan), np.frombuffer(correct), np.frombuffer(weight), domain=domain)


TRAINING = SavedFormat("training rows of an estimator")


def old_training(blob: bytes, width: int) -> Mapping[str, Sample]:
    """The labelled rows of an estimator as version 0.1.0 saved them, apart from its classifiers."""
    return {
        domain: Sample(
            in_width(np.frombuffer(features, np.float32).reshape(-1, saved_width), width),
            np.frombuffer(p_correct),
            np.frombuffer(correct),
            np.frombuffer(weight),
            domain=domain,
        )
        for domain, (saved_width, features, p_correct, correct, weight) in TRAINING.unpack(blob).items()
    }
