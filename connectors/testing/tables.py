"""What a store in memory holds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from driftgauge.connectors.base import Message, TopicPartition
from driftgauge.models.aliases import Alias
from driftgauge.models.events import Label
from driftgauge.models.rows import ResponseRow
from driftgauge.models.series import SeriesKey
from driftgauge.models.stale_windows import StaleWindow


@dataclass
class Tables:
    """The content of a store, which survives a crash of the process: pass it to the next `MemoryStore`.

    ``label_numbers`` is the order in which label events were stored, by response id and label id. ``outputs`` holds the
    stored outputs by table (`driftgauge.connectors.publishing.kinds`), and in it by key.
    """

    epoch: int = 0
    responses: dict[str, ResponseRow] = field(default_factory=dict)
    windows: dict[SeriesKey, dict[str, ResponseRow]] = field(default_factory=lambda: defaultdict(dict))
    labelled: dict[str, dict[str, ResponseRow]] = field(default_factory=lambda: defaultdict(dict))
    aliases: dict[str, Alias] = field(default_factory=dict)
    labels: dict[str, tuple[Label, ...]] = field(default_factory=dict)
    label_numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    outputs: dict[str, dict[Any, Any]] = field(default_factory=lambda: defaultdict(dict))
    stale: dict[tuple[SeriesKey, float], StaleWindow] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)
    retired: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    topic_ids: dict[str, str] = field(default_factory=dict)
    outbox: dict[int, Message] = field(default_factory=dict)
    applied: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
