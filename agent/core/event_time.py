"""Event time passes: when it reaches a boundary, the windows that end there are closed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.emission import Emission
from driftgauge.agent.core.labels import Labels
from driftgauge.agent.core.pieces import Pieces
from driftgauge.agent.core.responses import Responses
from driftgauge.models.events import Arrival


class EventTime:
    """Advances event time. It never goes back."""

    def __init__(self, batch: Batch, responses: Responses, pieces: Pieces, labels: Labels, emission: Emission) -> None:
        self._batch = batch
        self._responses = responses
        self._pieces = pieces
        self._labels = labels
        self._emission = emission

    def advance(self, event_time: float) -> Iterator[Arrival]:
        """Move event time on and close the windows that end; yield the responses that time completes."""
        state, windows = self._batch.state, self._batch.settings.windows
        if event_time <= state.max_event_time:
            return
        boundary = windows.boundary_after(event_time - self._batch.settings.allowed_lateness_s)
        if boundary > state.boundary > -math.inf:
            self._responses.flush()
            state.max_event_time = event_time
            yield from self._close(state.boundary)
            state.boundary = boundary
            for series in sorted(state.domains):
                state.domains[series].window.forget(boundary - windows.window_s)
        state.max_event_time = event_time
        state.boundary = max(boundary, state.boundary)
        yield from self._pieces.overdue(event_time)

    def _close(self, boundary: float) -> Iterator[Arrival]:
        """Emit what ends at this boundary; evict responses and labels that have waited for too long."""
        self._emission.emit_pending(boundary)
        yield from self._pieces.expire()
        self._labels.expire()
