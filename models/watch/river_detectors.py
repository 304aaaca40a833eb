"""river's change detectors on ranks: ADWIN, Page-Hinkley and KSWIN, behind the protocol of the house.

They promise nothing about a stream that is looked at after every value, so their descriptions say that no bound is
proven (decision 13 has measured ADWIN's), and they do not use allowances. river is imported with the first of them.

No private state of the library is saved. ADWIN and Page-Hinkley are a function of the newest `MOST` ranks at most: the
detector is made again from the newest `KEPT` when there are more, and from all that are kept after a restart of the
agent. KSWIN is made again for each test from its window, seeded by the number of the rank.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, Self

from driftgauge.models.watch.detector import Description, DetectorSettings
from driftgauge.models.watch.rank_shift import OnRanks
from driftgauge.models.watch.seasons import Season

KEPT, MOST = 500, 1_000
_PAGE_HINKLEY_THRESHOLD = 20.0
"""On ranks in [0, 1]; river's default of 50 is meant for values of any size."""
_ALPHA = 1e-4
"""Of KSWIN: the probability of a false detection at each test. river's .005 is one in 200."""

_WINDOW, _TEST_EVERY = 100, 5
"""Ranks in the window of KSWIN, and after how many it tests them: a test costs a thousand times as much as a rank."""

_RANKS_AND_RUNS_BYTES = 8_192


class _River(Protocol):
    """What river's detectors have in common."""

    @property
    def drift_detected(self) -> bool:
        """Whether the last value revealed a change."""
        ...

    def update(self, x: float) -> Any:
        """Take the next value."""
        ...


class Replayed:
    """Evidence of a detector of river whose state is the ranks that it has seen.

    Examples
    --------
    >>> evidence = Replayed(_new_adwin(0.002))
    >>> any(evidence.update(i % 2, 0.0) for i in range(200)), any(evidence.update(0.95, 0.0) for i in range(100))
    (False, True)
    """

    def __init__(self, new: Callable[[], _River]) -> None:
        self._new = new
        self.restart()

    def restart(self) -> None:
        """Start again without ranks."""
        self._ranks = array("f")
        self._detector: _River = self._new()

    def update(self, value: float, allowance: float, /) -> bool:
        """Take the next rank; returns whether the detector detects a change."""
        del allowance
        self._ranks.append(value)
        if len(self._ranks) > MOST:
            self._replay(self._ranks[-KEPT:])
        else:
            self._detector.update(self._ranks[-1])
        return self._detector.drift_detected

    def _replay(self, ranks: array[float]) -> None:
        self._ranks, self._detector = ranks, self._new()
        for rank in ranks:
            self._detector.update(rank)

    def snapshot(self) -> bytes:
        """The ranks, as float32; `restore` takes them."""
        return self._ranks.tobytes()

    def restore(self, state: bytes, /) -> Self:
        """Continue from a snapshot; returns self."""
        self._replay(array("f", state))
        return self


class KolmogorovSmirnovWindow:
    """Evidence of KSWIN (Raab, Heusinger and Schleif 2020): the newest 30 ranks differ from 30 before them.

    Examples
    --------
    >>> evidence = KolmogorovSmirnovWindow()
    >>> any(evidence.update(i % 10 / 10, 0.0) for i in range(200)), any(evidence.update(0.95, 0.0) for i in range(60))
    (False, True)
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start again without ranks."""
        self._n, self._window = 0, list[float]()

    def update(self, value: float, allowance: float, /) -> bool:
        """Take the next rank; returns whether a change is detected."""
        del allowance
        from river.drift import KSWIN

        self._n += 1
        value = round(value, 1)  # the middle ranks of the same value move a little while there are few values
        before, self._window = self._window, [*self._window, value][-_WINDOW:]
        if self._n % _TEST_EVERY or len(self._window) < _WINDOW:
            return False
        detector: _River = KSWIN(alpha=_ALPHA, window_size=_WINDOW, seed=self._n, window=before)
        detector.update(value)
        return detector.drift_detected

    def snapshot(self) -> list[Any]:
        """State as plain values; `restore` takes it."""
        return [self._n, self._window]

    def restore(self, state: Sequence[Any], /) -> Self:
        """Continue from a snapshot; returns self."""
        self._n, self._window = state
        return self


def _new_adwin(delta: float) -> Callable[[], _River]:
    from river.drift import ADWIN

    adwin: Callable[..., _River] = ADWIN
    return lambda: adwin(delta=delta, clock=1)


def _new_page_hinkley() -> _River:
    from river.drift import PageHinkley

    return PageHinkley(threshold=_PAGE_HINKLEY_THRESHOLD)


class Adwin(OnRanks):
    """ADWIN (Bifet and Gavalda 2007): a cut of the newest ranks into two parts whose means differ."""

    description: ClassVar[Description] = Description(
        "adwin", "change_of_mean", -1e6, 1e6, max_state_bytes=_RANKS_AND_RUNS_BYTES + 4 * MOST, is_proven=False
    )

    def __init__(self, delta: float, season: Season = "day") -> None:
        super().__init__(Replayed(_new_adwin(delta)), season, delta)

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no values; ``delta`` is that of one cut."""
        return cls(settings.delta, settings.season)


class PageHinkley(OnRanks):
    """Page-Hinkley (Page 1954): the cumulative sum of ranks above or below their mean."""

    description: ClassVar[Description] = Description(
        "page_hinkley", "change_of_mean", -1e6, 1e6, max_state_bytes=_RANKS_AND_RUNS_BYTES + 4 * MOST, is_proven=False
    )

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no values."""
        return cls(Replayed(_new_page_hinkley), settings.season, settings.delta)


class Kswin(OnRanks):
    """KSWIN: the distribution of the newest ranks; it costs a Kolmogorov-Smirnov test for every fifth value."""

    description: ClassVar[Description] = Description(
        "kswin", "change_of_mean", -1e6, 1e6, max_state_bytes=_RANKS_AND_RUNS_BYTES + 1_024, is_proven=False
    )

    @classmethod
    def from_settings(cls, settings: DetectorSettings) -> Self:
        """Make a detector that has seen no values."""
        return cls(KolmogorovSmirnovWindow(), settings.season, settings.delta)
