"""Logging to standard error: one line of text or one JSON object per message, times in UTC.

The level applies to driftgauge only. Libraries log from ``warning`` up, because a Kafka client writes whole records at
level ``debug``, with content that must not be kept.
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
    """Start logging to standard error; a second call replaces the settings of the first."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines() if json_lines else _Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("driftgauge").setLevel(level.upper())
    # the client warns when its thread waits 0.1 s for the agent's, which is normal under load
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
