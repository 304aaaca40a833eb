"""Whether the topics are still those that the stored positions are about.

A topic that was deleted and created again, and one of the same name in another cluster, has other records at the same
offsets. An agent that went on from its positions would pass over as many records as it had read of the old topic.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from driftgauge.connectors.base import ConnectorError, Store
from driftgauge.connectors.kafka.records import OnLost

log = logging.getLogger(__name__)


def check_topics(store: Store, topic_ids: Mapping[str, str], on_lost: OnLost) -> None:
    """Note the ids of the topics; topics that are others than those read before are read from their beginning.

    Raises
    ------
    ConnectorError
        There are such topics, and ``on_lost`` does not allow it.
    """
    with store.transaction() as transaction:
        others = transaction.recognise(topic_ids)
        if others and on_lost == "fail":
            text = (
                f"{', '.join(others)}: created anew since it was read, or of another cluster, so the stored positions "
                "do not fit (kafka.on_lost: earliest reads it from its beginning; what is known already counts once)"
            )
            raise ConnectorError(text, retriable=False)
    for topic in others:
        log.error("%s: created anew since it was read, or of another cluster; read from its beginning", topic)
