"""Sets of features: the names of the columns, and rows of one set as rows of another.

A set has a name, and for ever the same columns in the same order. The number of columns differs from set to set, with
segments and without, so the width of a stored row says which columns it has. A column that a row lacks is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np

from driftgauge.models.arrays import Floats
from driftgauge.models.signals.entropy import EntropyVariant

FeatureSet: TypeAlias = Literal["published", "extended"]

ENTROPY_FEATURES = (
    "entropy_mean", "entropy_std", "entropy_max",
    "entropy_q10", "entropy_q25", "entropy_q50", "entropy_q75", "entropy_q90",
    "entropy_skewness", "entropy_kurtosis", "entropy_sum",
)  # fmt: skip
NLL_FEATURES = ("nll_mean", "nll_max", "nll_sum", "nll_log_nll_sum", "nll_log_nll_max", "perplexity")
FEATURES = ENTROPY_FEATURES + NLL_FEATURES
"""The published features (Entropy Sentinel, arXiv 2601.09001)."""
TAIL_FEATURES = ("tail_mass_mean", "tail_mass_max", "varentropy_mean", "varentropy_max", "varentropy_sum")
"""What the extended set adds, from `entropy.tail_mass` and `entropy.varentropy` of every token."""

FEATURE_SETS: Mapping[FeatureSet, tuple[str, ...]] = {"published": FEATURES, "extended": FEATURES + TAIL_FEATURES}
SEGMENTS = ("reasoning", "answer")
N_PARTS = 1 + len(SEGMENTS)
"""Of a row with segments: the whole response, then each segment."""


def _with_segments(names: tuple[str, ...]) -> tuple[str, ...]:
    return names + tuple(f"{segment}_{name}" for segment in SEGMENTS for name in names)


LAYOUTS: Mapping[int, tuple[str, ...]] = {
    len(names): names for whole in FEATURE_SETS.values() for names in (whole, _with_segments(whole))
}
"""Names of the columns, by their number: 17 and 22; 51 and 66 with segments."""
WIDTHS = tuple(len(names) for names in FEATURE_SETS.values())
"""Number of features of a response as a whole, in each set."""
ALL_FEATURES = _with_segments(FEATURE_SETS["extended"])
"""Every name that there is."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Which features are computed.

    Attributes
    ----------
    set : ``published`` (17 features) or ``extended`` (22)
    entropy : variant of the entropy, see `entropy.entropy_profile`
    segments : whether the features of reasoning and of answer alone are added (NaN where a payload does not separate
        them)

    Examples
    --------
    >>> FeatureSpec().width, FeatureSpec("published").width, FeatureSpec("published", segments=True).width
    (22, 17, 51)
    """

    set: FeatureSet = "extended"
    entropy: EntropyVariant = "published"
    segments: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        whole = FEATURE_SETS[self.set]
        return _with_segments(whole) if self.segments else whole

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(FEATURE_SETS[self.set]) * (N_PARTS if self.segments else 1)


DEFAULT_SPEC = FeatureSpec()


def in_width(features: Floats, width: int) -> Floats:
    """Rows of features with the columns of the set that has this width; NaN in columns that they lack.

    Raises
    ------
    ValueError
        When the rows have another width and one of the two is not that of a set.

    Examples
    --------
    >>> in_width(np.zeros((3, 17), np.float32), 22)[0, -6:].tolist()
    [0.0, nan, nan, nan, nan, nan]
    """
    if features.shape[1] == width:
        return features
    if not len(features):
        return np.empty((0, width), dtype=features.dtype)
    source, target = shared_columns(features.shape[1], width)
    table = np.full((len(features), width), np.nan, dtype=features.dtype)
    table[:, target] = features[:, source]
    return table


@cache
def shared_columns(width: int, other: int) -> tuple[list[int], list[int]]:
    """Places of the columns that two sets share, in each of them."""
    if unknown := {width, other} - {*LAYOUTS}:
        known = ", ".join(map(str, LAYOUTS))
        raise ValueError(f"{width} features cannot be read as {other}: {min(unknown)} is none of {known}")
    place = {name: column for column, name in enumerate(LAYOUTS[other])}
    pairs = [(column, place[name]) for column, name in enumerate(LAYOUTS[width]) if name in place]
    return [column for column, _ in pairs], [column for _, column in pairs]


def common_width(widths: Iterable[int]) -> int:
    """The smallest width that has every column of rows of these widths.

    >>> common_width([17, 22]), common_width([22, 51])
    (22, 66)
    """
    wanted = {name for width in widths for name in LAYOUTS[width]}
    return min(width for width, names in LAYOUTS.items() if wanted <= {*names})
