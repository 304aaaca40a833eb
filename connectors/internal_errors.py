"""The net for the value nobody thought of: a record that makes the agent fail becomes a dead letter ``internal_error``.

The loop and `RecordExtractor` handle a batch at once. When a batch fails unexpectedly, they handle its records one by
one, and a record that fails by itself becomes a dead letter. A bug that every record meets must not turn all traffic
into dead letters, so `Failures` raises the error after `MAX_IN_A_ROW` records in a row.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from driftgauge.connectors.base import ConnectorError, Record, RefusedValueError
from driftgauge.models.events import Rejected

log = logging.getLogger(__name__)

MAX_IN_A_ROW = 10
"""Records in a row that may fail: the last of them raises its error, those before it stay dead letters."""

_MAX_LOGGED = 1_000
_ROOT = Path(__file__).resolve().parents[1]


def is_unexpected(error: Exception) -> bool:
    """Whether a record may be the cause: an error of a connection, or of a store taken over, never is."""
    return isinstance(error, RefusedValueError) or not isinstance(error, ConnectorError)


class Failures:
    """Counts the records in a row that failed unexpectedly."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._logged: set[str] = set()

    def reset(self) -> None:
        """Note that a record was handled: the records that failed were at fault."""
        self._in_a_row = 0

    def note(self, record: Record, error: Exception) -> Rejected:
        """Return the dead letter of the record; log the first error of each place; raise it at `MAX_IN_A_ROW`."""
        self._in_a_row += 1
        place = f"{record.topic}/{record.partition}/{record.offset}"
        if self._in_a_row >= MAX_IN_A_ROW:
            log.error("%d records in a row failed, the last at %s: the agent is at fault", MAX_IN_A_ROW, place)
            raise error
        what = describe(error)
        if what not in self._logged:  # a storm of them needs one traceback
            log.error("the record at %s made the agent fail; it becomes a dead letter", place, exc_info=error)
        if len(self._logged) < _MAX_LOGGED:
            self._logged.add(what)
        return Rejected(
            "internal_error", what, record.topic, record.partition, record.offset,
            record.key, record.value, record.headers,
        )  # fmt: skip


def describe(error: Exception) -> str:
    """The type of an error and its place in the code, without its text: that may quote the payload.

    >>> describe(ValueError("secret"))
    'ValueError'
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_ROOT)]
    if not (own or frames):
        return type(error).__name__
    frame = (own or frames)[-1]
    name = Path(frame.filename)
    where = name.relative_to(_ROOT).as_posix() if own else name.name
    return f"{type(error).__name__} at {where}:{frame.lineno} in {frame.name}"
