"""A response without a domain gets that of its topic, where its prompt has an embedding.

Topics are of all contexts together: they follow the prompts and not the model. Their domains start, leave and return
like others.
"""

from __future__ import annotations

from msgspec.structs import replace

from driftgauge.agent.core.batch import Batch
from driftgauge.models.events import NO_DOMAIN, Arrival
from driftgauge.models.outputs import ALERTS
from driftgauge.models.series import SeriesKey
from driftgauge.models.topics.clustering import TopicChange


class Sorting:
    """Names topics, and tells what became of them."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def sorted(self, arrival: Arrival, fingerprint: str) -> Arrival:
        """Move an arrival without a domain to the domain of its topic; one without an embedding stays as it is."""
        state, generation = self._batch.state, arrival.generation
        is_unnamed = self._batch.settings.topics.enabled and NO_DOMAIN in generation.problems
        if not is_unnamed or generation.embedding is None:
            return arrival
        topic, changes = state.topics.place(generation.embedding, generation.event_time)
        state.are_topics_touched = True
        for change in changes:
            if change.kind not in ALERTS:
                state.counters[change.kind] += 1
                continue
            if change.kind == "topics_merged":
                state.roll_call.forget(change.other)  # its silence is no news
            series = SeriesKey(change.other or change.topic, fingerprint)  # a name begins once and ends once
            self._batch.alert(
                change.kind, series, "embedding", _message(change), at=generation.event_time, n=change.n,
                rows=[generation.id],
            )  # fmt: skip
        problems = {reason: n for reason, n in generation.problems.items() if reason != NO_DOMAIN}
        return replace(arrival, generation=replace(generation, domain=topic, problems=problems))


def _message(change: TopicChange) -> str:
    if change.kind == "topics_merged":
        return f"{change.other} is part of {change.topic} from now on: their prompts are alike"
    if change.kind == "topic_split":
        return f"{change.other} is split off from {change.topic}: its prompts were of two kinds"
    return f"{change.topic} is a new topic: {change.n} prompts without a domain are like each other"
