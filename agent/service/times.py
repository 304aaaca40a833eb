"""Times and offsets as users write them, for commands that read a part of the past."""

from __future__ import annotations

from datetime import UTC, datetime

from driftgauge.connectors.base import TopicPartition, WrongSettingError
from driftgauge.connectors.kafka.history import Bound


def read_bound(text: str) -> Bound:
    """Read a bound of a replay of topics: a time, or offsets by partition; None (unbounded) for an empty text.

    Raises
    ------
    WrongSettingError
        For any other text.

    Examples
    --------
    >>> read_bound("2026-01-31T00:00:00Z"), read_bound("2026-01-31"), read_bound("")
    (1769817600.0, 1769817600.0, None)
    >>> read_bound("generations/0:1500, labels/0:20")
    {TopicPartition(topic='generations', partition=0): 1500, TopicPartition(topic='labels', partition=0): 20}
    """
    if not text:
        return None
    try:
        if "/" in text:
            return dict(map(_read_offset, text.split(",")))
        return _seconds(text)
    except ValueError:
        wanted = "a time like 2026-01-31T00:00:00Z, or offsets like generations/0:1500,labels/0:20"
        raise WrongSettingError(f"{text!r} is not a bound of a topic; write {wanted}") from None


def read_time(text: str) -> float:
    """Read a time as UTC seconds; a time without an offset is UTC.

    Raises
    ------
    WrongSettingError
        For any other text.

    Examples
    --------
    >>> read_time("2026-01-31T00:00:00Z"), read_time("2026-01-31")
    (1769817600.0, 1769817600.0)
    """
    try:
        return _seconds(text)
    except ValueError:
        raise WrongSettingError(f"{text!r} is not a time like 2026-01-31T00:00:00Z") from None


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _read_offset(text: str) -> tuple[TopicPartition, int]:
    place, _, offset = text.strip().rpartition(":")
    topic, _, partition = place.rpartition("/")
    return TopicPartition(topic, int(partition)), int(offset)
