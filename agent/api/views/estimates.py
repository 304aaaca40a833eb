"""Estimates of domains and of their slices, as their topics carry them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import RootModel

from driftgauge.agent.api.problem import Problem
from driftgauge.agent.api.shapes import Name, Page, Paged, Question, Span, as_carried, carried, cursor, place_of
from driftgauge.agent.api.views.context import Known
from driftgauge.connectors.store.newest import estimates_of, newest_estimate, newest_slices
from driftgauge.connectors.store.queries import StoreQueries


class SeriesQuestion(Question):
    """Which series is asked about."""

    domain: Name
    """The name of the domain."""
    fingerprint: Name | None = None
    """The context; without it, the one with the newest window."""


class EstimatesQuestion(Paged):
    """Of which series to give the newest estimate."""

    domain: Name | None = None
    """Only of this domain."""
    fingerprint: Name | None = None
    """Only of this context."""


class HistoryQuestion(Paged, Span):
    """Which estimates of a domain to give."""

    domain: Name
    """The name of the domain."""
    fingerprint: Name | None = None
    """Only of this context."""


class Estimates(Page[Annotated[Any, carried("estimate")]]):
    """Estimates."""


class Slices(RootModel[Annotated[Any, carried("slice_estimates")]]):
    """Estimates of slices."""


def estimates(queries: StoreQueries, question: EstimatesQuestion, _: Known) -> Estimates:
    """The newest estimate of each series, by name."""
    place = place_of(question.after, tuple[str, str]) if question.after else ("", "")
    found = [
        made
        for made in queries.latest_estimates(question.domain)
        if question.fingerprint in (None, made.fingerprint) and (made.domain, made.fingerprint) > place
    ]
    page = found[: question.limit]
    is_last = len(found) <= question.limit
    return Estimates(
        items=[as_carried(made) for made in page],
        next=None if is_last else cursor(page[-1].domain, page[-1].fingerprint),
    )


def history(queries: StoreQueries, question: HistoryQuestion, _: Known) -> Estimates:
    """The estimates of a domain by window end, oldest first."""
    place = place_of(question.after, tuple[float, str]) if question.after else None
    span = question.start, question.end
    found = estimates_of(queries, question.domain, question.fingerprint, span, place, question.limit + 1)
    if not found and newest_estimate(queries, question.domain, question.fingerprint) is None:
        raise no_domain()
    page = found[: question.limit]
    is_last = len(found) <= question.limit
    return Estimates(
        items=[as_carried(made) for made in page],
        next=None if is_last else cursor(page[-1].window_end, page[-1].fingerprint),
    )


def slices(queries: StoreQueries, question: SeriesQuestion, _: Known) -> Slices:
    """The newest estimates of the slices of a domain."""
    found = newest_slices(queries, question.domain, question.fingerprint)
    if found is None:
        raise Problem(404, "there is no domain with this name that has estimates of slices")
    return Slices(as_carried(found))


def no_domain() -> Problem:
    """The problem with a domain, or a context of it, that has no estimate."""
    return Problem(404, "there is no domain with this name and context that has an estimate")
