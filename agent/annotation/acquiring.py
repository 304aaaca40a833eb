"""From the label lists in a store to the tasks that are delivered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from driftgauge.agent import kafka_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.annotation.rows import task_json
from driftgauge.connectors.annotation.tasks import AnnotationTool, Task, Texts
from driftgauge.connectors.annotation.texts import read_texts
from driftgauge.connectors.base import Message, WrongSettingError
from driftgauge.connectors.batches import batched
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.acquire.budget import within_budget
from driftgauge.models.outputs import LabelList, LabelRequest

MAX_LISTS = 10_000
"""Label lists that are read: the newest."""

BATCH = 500

Requests: TypeAlias = Sequence[tuple[LabelList, LabelRequest]]

_JSON = (("content-type", b"application/json"),)


def open_lists(queries: StoreQueries, since: float | None = None) -> list[LabelList]:
    """The lists of the newest period that have requests.

    Parameters
    ----------
    since : take the lists of all periods that ended after this time instead, but for those that have expired
    """
    lists = [found for found in queries.newest(LabelList, MAX_LISTS) if found.requests]
    newest = max((found.period_end for found in lists), default=0.0)
    if since is None:
        return [found for found in lists if found.period_end == newest]
    return [found for found in lists if found.period_end > since and found.expires > newest]


def requests_of(lists: Sequence[LabelList], budget: int | None, tool: AnnotationTool | None) -> Requests:
    """The requests that a budget reaches; those that the tool has already are among them in any case."""
    delivered = set[str]()
    if tool is not None and budget is not None:
        delivered = tool.delivered([request.response_id for found in lists for request in found.requests])
    least = {
        found.key: max((one.rank for one in found.requests if one.response_id in delivered), default=0)
        for found in lists
    }
    return within_budget(lists, budget, least)


def texts_of(requests: Requests, queries: StoreQueries, path: Path | None) -> dict[str, Texts]:
    """The texts of the responses from the file; of the others from the store, which has them where it was asked to."""
    ids = [request.response_id for _, request in requests]
    names = {name: one.response_id for _, one in requests for name in (*one.aliases, one.response_id)}
    stored = {key: Texts(response=text) for key, text in queries.texts(ids).items()}
    return stored | (read_texts(str(path), names) if path is not None else {})


def publish(settings: Settings, tasks: Sequence[Task]) -> None:
    """Publish a message for each task to the topic of the settings; its key is the response id.

    Raises
    ------
    ConnectorError
        When the settings name no topic, or one that the agent reads; when the topic is missing.
    """
    topic, topics = settings.annotation.topic, settings.kafka.topics
    if not topic or topic in {*topics.generations, *topics.labels}:
        raise WrongSettingError("the setting annotation.topic must name a topic that is not read")
    if settings.kafka.create_topics:
        kafka_settings.topic_creation(settings.kafka, [topic])()
    with closing(KafkaSink(kafka_settings.connection(settings.kafka))) as sink:
        sink.check([topic])
        for part in batched(tasks, BATCH):
            sink.publish([Message(0, topic, t.request.response_id.encode(), task_json(t), _JSON) for t in part])
