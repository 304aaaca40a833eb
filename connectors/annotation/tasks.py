"""What annotators see: one task for each response of a label list, the same for every tool and file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from driftgauge.connectors.publishing.payload import rfc3339
from driftgauge.models.outputs import LabelList, LabelRequest


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a response; None where unknown."""

    prompt: str | None = None
    response: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One response to label.

    Attributes
    ----------
    rank : place in everything that is delivered, from 1
    request : the response and its inclusion probability
    domain, model, expires : of its list
    """

    rank: int
    request: LabelRequest
    domain: str
    model: str
    expires: float
    texts: Texts

    @property
    def can_be_read(self) -> bool:
        """Whether an annotator sees more than an id."""
        return self.texts.response is not None or self.request.link is not None

    def data(self) -> dict[str, Any]:
        """The fields that a tool keeps with the task; a time is RFC 3339 text.

        The predicted correctness is none of them: it would sway the annotators who shall check it.
        """
        return {
            "response_id": self.request.response_id,
            "inclusion_probability": self.request.inclusion_probability,
            "domain": self.domain,
            "model": self.model,
            "rank": self.rank,
            "expires": rfc3339(self.expires),
            "link": self.request.link or "",
            "prompt": self.texts.prompt or "",
            "response": self.texts.response or "",
        }


@dataclass(slots=True)
class Delivery:
    """What became of the tasks: ``updated`` ones had another inclusion probability, ``known`` ones were there as is."""

    created: int = 0
    updated: int = 0
    known: int = 0


class AnnotationTool(Protocol):
    """A tool that shows tasks and holds labels.

    Attributes
    ----------
    preset : name of the mapping that reads its records
    """

    preset: str

    def delivered(self, response_ids: Sequence[str]) -> set[str]:
        """Those of the responses that have a task already."""
        ...

    def deliver(self, tasks: Sequence[Task]) -> Delivery:
        """Make a task of each response that has none, and correct the inclusion probability of the others."""
        ...

    def answered(self, since: float | None = None) -> Iterator[Answered]:
        """Tasks with their annotations, which may be none; with ``since`` those that changed from then on.

        A tool that cannot tell changes gives all.
        """
        ...

    def has_annotation(self, task: Answered, key: str) -> bool:
        """Ask the tool whether an annotation is still there, by its own key."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """A task with the annotations that it has now.

    Attributes
    ----------
    response_id : empty for a task that is not ours
    document : the record of the tool, as the mapping of its preset reads it
    keys : the tool's own keys of the annotations
    updated_at : when the tool changed it last, UTC seconds; None where it does not say
    """

    response_id: str
    document: Mapping[str, Any]
    keys: tuple[str, ...] = ()
    updated_at: float | None = None


def tasks_of(requests: Sequence[tuple[LabelList, LabelRequest]], texts: Mapping[str, Texts]) -> list[Task]:
    """A task for each request, in this order; texts are by response id."""
    return [
        Task(rank, request, found.domain, found.model, found.expires, texts.get(request.response_id, Texts()))
        for rank, (found, request) in enumerate(requests, start=1)
    ]
