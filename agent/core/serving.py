"""Watches whether the model behind a name changed without notice: on recurring prompts, and where many domains move.

A prompt recurs where events name it in a slice of `PROMPT_SLICES`: probes do, and producers can. Without such prompts,
a change shows only as many domains that move at once while their shares of the traffic do not: that is suspected.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

from driftgauge.agent.core.batch import Batch
from driftgauge.models.events import Arrival
from driftgauge.models.probes import live_fingerprint, prompt_of
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import ALL_DOMAINS, SeriesKey

KIND = "served_model"
MIN_DOMAINS, MIN_SHARE = 3, 0.5
"""Number and share of the domains of a context that must move for a change of its model to be suspected."""


class Serving:
    """Compares the openings of responses to recurring prompts."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def see_response(self, arrival: Arrival, row: ResponseRow, allowance: float) -> None:
        """Compare a response with earlier ones to the same prompt."""
        prompt = prompt_of(arrival.generation.slices)
        if prompt is None or arrival.opening is None or not self._batch.settings.detect_drift:
            return
        state, context = self._batch.state, arrival.generation.context
        state.touched_contexts.add(row.fingerprint)
        name = hashlib.blake2b(f"{row.domain}\0{prompt}".encode(), digest_size=8).hexdigest()
        change = state.contexts[row.fingerprint].see_prompt(
            name, arrival.opening, row.event_time, allowance, is_greedy=context.temperature == 0
        )
        if change is None:
            return
        model = context.model or "(unnamed)"
        message = (
            f"the first tokens of model {model} moved by {change.after - change.before:.3f} nats on recurring prompts: "
            "another model, other weights or another template is served under this name"
        )
        series = SeriesKey(ALL_DOMAINS, live_fingerprint(row.fingerprint))
        self._batch.alert(
            KIND, series, "first_tokens", message,
            at=row.event_time, since=change.since, before=change.before, after=change.after, n=change.n, rows=[row.id],
        )  # fmt: skip


def suspect_model(batch: Batch, boundary: float) -> None:
    """Suspect a change of the model where many domains moved within a window and the mix of the traffic did not."""
    state, start = batch.state, boundary - batch.settings.windows.window_s
    moved, mixed = defaultdict[str, set[str]](set), set[str]()
    for (kind, series), alert in state.alerts.open.items():
        is_drift = kind == "drift" and series.domain != ALL_DOMAINS  # which stands for small domains together
        if is_drift and alert.state == "firing" and alert.first > start:
            moved[series.fingerprint].add(series.domain)
        elif kind == "traffic_mix":
            mixed.add(series.fingerprint)
    for fingerprint in sorted(moved.keys() & state.contexts.keys() - mixed):
        live = [s for s, d in state.domains.items() if s.fingerprint == fingerprint and d.last_boundary > start]
        n = len(moved[fingerprint])
        if n >= max(MIN_DOMAINS, MIN_SHARE * len(live)):
            model = state.contexts[fingerprint].model or "(unnamed)"
            message = (
                f"{n} of {len(live)} domains of model {model} moved at once while their shares of the traffic did not: "
                "was the model changed?"
            )
            batch.alert(KIND, SeriesKey(ALL_DOMAINS, fingerprint), "domains", message, at=boundary, n=n)
