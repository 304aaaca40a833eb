"""Whether the stored positions are those of the present topics.

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
    """Store the ids of the topics; a topic whose id is another one than before is read from its beginning.

    Raises
    ------
    ConnectorError
        There is such a topic, and ``on_lost`` does not allow it.
    """
    with store.transaction() as transaction:
        others = transaction.store_topic_ids(topic_ids)
        if others and on_lost == "fail":
            text = (
                f"{', '.join(others)}: created anew since the agent read it, or in another cluster. The stored "
                "positions do not fit it (kafka.on_lost: earliest reads it from its beginning; what is known already "
                "counts once)"
            )
            raise ConnectorError(text, retriable=False)
    for topic in others:
        log.error("%s: created anew since the agent read it, or in another cluster; read from its beginning", topic)
