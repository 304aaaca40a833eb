"""How the agent logs: to standard error, a line of text or a JSON object per message, times in UTC.

The level concerns driftgauge alone. Libraries are heard from ``warning`` up: a Kafka client that debugs writes whole
records, and with them what nobody asked to keep.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class _Lines(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False)


def start_logging(level: Level, *, json_lines: bool = False) -> None:
    """Log to standard error from now on; calling it again replaces what was set before."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines() if json_lines else _Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("driftgauge").setLevel(level.upper())
    # it warns when its thread waits a tenth of a second for ours, which is what happens when there is much to do
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
