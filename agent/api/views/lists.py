"""What the agent asks for: data, labels, and where responses are wrong more often."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import RootModel

from driftgauge.agent.api.shapes import Page, Paged, Question, as_carried, carried, cursor, place_of
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.store.label_lists import ListPlace, newest_label_lists
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.outputs import WeakSegments as FoundSegments


class DataList(RootModel[Annotated[Any, carried("priorities")] | None]):
    """A data list; null: there is none yet."""


class WeakSegments(RootModel[Annotated[Any, carried("weak_segments")] | None]):
    """A list of weak segments; null: there was no search yet."""


class LabelLists(Page[Annotated[Any, carried("label_list")]]):
    """Label lists by rank."""


def data_list(queries: StoreQueries, _: Question, __: Known) -> DataList:
    """The newest data list."""
    found = queries.latest_acquisition()
    return DataList(None if found is None else as_carried(found))


def label_lists(queries: StoreQueries, question: Paged, _: Known) -> LabelLists:
    """The label lists of the newest period by rank; the next pages stay with that period."""
    place = place_of(question.after, ListPlace) if question.after else None
    found = newest_label_lists(queries, place, question.limit + 1)
    page = found[: question.limit]
    is_last = len(found) <= question.limit
    return LabelLists(
        items=[as_carried(made) for made in page],
        next=None if is_last else cursor(*ListPlace.of(page[-1])),
    )


def weak_segments(queries: StoreQueries, _: Question, __: Known) -> WeakSegments:
    """The newest list of weak segments."""
    found = queries.newest(FoundSegments, 1)
    return WeakSegments(as_carried(found[0]) if found else None)
