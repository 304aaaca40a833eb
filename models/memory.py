"""The port through which the pipeline reads and writes the store.

The pipeline is a function of (state, events, memory). One `Memory` is one transaction: its reads see its own writes,
and either all of its writes happen or none. `connectors/store` and `connectors/testing` implement it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from driftgauge.models.aliases import Alias
from driftgauge.models.events import Label
from driftgauge.models.outputs import Acquisition, Estimate, LabelList
from driftgauge.models.rows import ResponseRow, Rows
from driftgauge.models.series import SeriesKey
from driftgauge.models.stale_windows import StaleWindow


class Unlabelled(NamedTuple):
    """Responses of one series and span that could be labelled.

    Attributes
    ----------
    n_responses : all responses of the span
    n_labelled : those with a label that counts in estimates
    rows : the others; a random sample of them where they are many
    """

    n_responses: int
    n_labelled: int
    rows: Rows


class Memory(Protocol):
    """One transaction of the store; reads see everything written earlier in it."""

    def responses(self, ids: Collection[str]) -> dict[str, ResponseRow]:
        """The stored responses with these ids; unknown ids are absent."""
        ...

    def labels(self, response_ids: Collection[str]) -> dict[str, list[Label]]:
        """The label events stored for these responses, joined or pending, by response id, in any order."""
        ...

    def aliases(self, names: Collection[str]) -> dict[str, Alias]:
        """The stored aliases with these names; unknown names are absent."""
        ...

    def labels_of_topic(self, topic: str, limit: int) -> list[Label]:
        """The ``limit`` label events of a topic that were stored last, the newest first."""
        ...

    def window(self, series: SeriesKey, start: float, end: float, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), with ``start <= event_time < end``."""
        ...

    def unlabelled(self, series: SeriesKey, start: float, end: float, limit: int, seed: int) -> Unlabelled:
        """Up to ``limit`` responses with ``start <= event_time < end`` that have no label which counts.

        Where there are more, they are those whose hashed ids follow a place that the seed decides, in a circle: every
        response is among them with the same probability.
        """
        ...

    def aliases_of(self, rows: Sequence[ResponseRow], /) -> dict[str, list[str]]:
        """The aliases that name these stored responses alone, sorted, by response id; without any it is absent."""
        ...

    def label_lists(self, series: SeriesKey, limit: int) -> list[LabelList]:
        """The label lists of a series with the last ends of their period, the newest first."""
        ...

    def labelled(self, fingerprint: str, limit: int) -> Rows:
        """The last ``limit`` responses, by (event_time, id), that have a resolved label."""
        ...

    def estimate(self, key: str) -> Estimate | None:
        """The highest revision of the estimate with this key."""
        ...

    def accuracies(self, series: Collection[SeriesKey], window_end: float) -> dict[SeriesKey, float]:
        """The accuracy of these series over the window with this end; a series without an estimate of it is absent."""
        ...

    def acquisition(self, key: str) -> Acquisition | None:
        """The highest revision of the data list with this key."""
        ...

    def state(self, prefix: str) -> dict[str, bytes]:
        """Saved state by name, for every name that starts with ``prefix``."""
        ...

    def retired_numbers(self) -> dict[str, int]:
        """The number of each retired state by its name, in the order of the numbers."""
        ...

    def retired(self, name: str) -> bytes | None:
        """The retired state with this name."""
        ...

    def add_responses(self, rows: Sequence[ResponseRow], /) -> None:
        """Store new responses; their ids are not stored yet, and ``seq`` only grows."""
        ...

    def add_aliases(self, aliases: Sequence[Alias]) -> None:
        """Store aliases, each in the place of the stored one with its name. They are deleted when their age is due."""
        ...

    def add_labels(self, labels: Sequence[Label], *, are_joined: bool = False) -> None:
        """Store label events; no event with the same ``label_id`` is stored for the response.

        ``are_joined`` says that their responses are stored, which saves looking for them later.
        """
        ...

    def remove_labels(self, labels: Sequence[Label]) -> None:
        """Remove stored label events: a newer event takes their place."""
        ...

    def resolve(self, rows: Sequence[ResponseRow], /) -> None:
        """Store the resolved ``correct``, ``weight`` and ``label_kind`` of responses that are stored already."""
        ...

    def mark_stale(self, windows: Sequence[StaleWindow]) -> int:
        """Store marks of closed windows and return how many are new; a window that is marked already keeps its mark."""
        ...

    def take_stale(self, limit: int) -> list[StaleWindow]:
        """Remove and return up to ``limit`` marks, the first ones in their order."""
        ...

    def save_state(self, state: Mapping[str, bytes | None]) -> None:
        """Replace the saved state under these names; None deletes the name."""
        ...

    def save_retired(self, state: Mapping[str, tuple[int, bytes] | None]) -> None:
        """Replace the retired state under these names: its number and its bytes; None deletes the name."""
        ...

    def oldest_pending(self) -> float | None:
        """The lowest event time of the labels whose response is not stored; None when there are none."""
        ...

    def expire_labels(self, older_than: float, limit: int) -> list[Label]:
        """Remove and return label events older than this whose response never arrived.

        Up to ``limit`` of them, oldest first by (event_time, label_id).
        """
        ...
