"""A log in memory that behaves as a topic does."""

from __future__ import annotations

from collections.abc import Callable

from driftgauge.connectors.testing import MemorySource


class Endless(MemorySource):
    """A topic does not end, so neither is its last window closed; ``at_the_end`` is called whenever nothing came."""

    at_the_end: Callable[[], object] = staticmethod(lambda: None)

    @property
    def is_exhausted(self) -> bool:
        if super().is_exhausted:
            self.at_the_end()
        return False
