"""``driftgauge labels listen`` as a whole: webhooks, polling, and one queue to the topic of labels behind both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

from driftgauge.agent.annotation import build
from driftgauge.agent.annotation.polling import Poller
from driftgauge.agent.annotation.receiver import serve
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.capture.outbox import Outbox
from driftgauge.connectors.decoding.formats.own import encode_label
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.events import Label

DRAIN_S = 10.0
"""Seconds to publish what is queued at the end."""


def listen(
    settings: Settings,
    stopping: threading.Event,
    *,
    poll_s: float = 0.0,
    queries: StoreQueries | None = None,
    started: Callable[[int], object] = lambda _: None,
) -> None:
    """Take webhooks, and poll the tools that have an address, until ``stopping`` is set.

    Parameters
    ----------
    poll_s : seconds between two passes; 0: no polling
    queries : the agent's store
    started : called with the port when webhooks are taken

    Raises
    ------
    ConnectorError
        When a setting is missing, a tool does not have what the settings name, or the port is taken.
    """
    outbox = build.outbox()
    put = _put(outbox, settings.kafka.topics.labels[0])
    names = [name for name in build.TOOLS if poll_s and build.has_address(settings, name)]
    if poll_s and not names:
        text = "no tool has an address to poll: set annotation.label_studio.url or annotation.argilla.url"
        raise ConnectorError(text, retriable=False)
    pollers = {
        name: Poller(
            name,
            build.reconciliation(settings, build.tool(settings, name), queries),
            _publish(put),
            every_s=poll_s,
        )
        for name in names
    }

    def wake(name: str) -> None:
        if name in pollers:
            pollers[name].wake()

    hooks = build.hooks(settings, put, wake)
    annotation = settings.annotation
    publisher = build.publisher(settings, outbox)
    with ExitStack() as stack:
        publisher.start()
        stack.callback(publisher.close, DRAIN_S)
        for poller in pollers.values():
            poller.start()
            stack.enter_context(closing(poller))
        asyncio.run(serve(hooks, annotation.host, annotation.port, stopping, started))


def _put(outbox: Outbox, topic: str) -> Callable[[Sequence[Label]], bool]:
    return lambda labels: all(outbox.put(topic, one.response_id.encode(), encode_label(one)) for one in labels)


def _publish(put: Callable[[Sequence[Label]], bool]) -> Callable[[Sequence[Label]], None]:
    def publish(labels: Sequence[Label]) -> None:
        if not put(labels):
            raise ConnectorError("the broker does not take the labels that are queued", retriable=True)

    return publish
