"""The labels of a tool against those that the agent has: what is new, changed or gone.

It keeps no state: the known labels come from the agent's store, and a label that is sent twice does no harm. It holds
`PART` tasks at a time.

An annotation that is deleted from its task is withdrawn, after the tool has confirmed that it is gone. The labels of a
deleted task stay, because teams delete the tasks that are done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from driftgauge.connectors.annotation.tasks import AnnotationTool, Answered
from driftgauge.connectors.batches import batched
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.labels.mapping import LabelMapping, Refusal
from driftgauge.models.events import Label
from driftgauge.models.labels import is_newer

PART = 200
"""Tasks that are compared at once."""

AFTER_S = 0.001
"""A withdrawal is at least this much later than its label, whatever the clocks say."""


def nothing_known(response_ids: Sequence[str]) -> list[Label]:  # noqa: ARG001 - it knows none
    """Without a store every label is new, and none can be withdrawn."""
    return []


class Reconciliation:
    """Compares a tool with what is known of its labels.

    Parameters
    ----------
    mapping : reads the records of the tool
    known : the labels that the agent has of these responses, of any origin
    scale : scale of the scores

    Attributes
    ----------
    newest : when the tool last changed a task of those read so far, UTC seconds; None where it does not say
    """

    def __init__(
        self,
        tool: AnnotationTool,
        mapping: LabelMapping,
        known: Callable[[Sequence[str]], Iterable[Label]] = nothing_known,
        scale: LabelScale | None = None,
    ) -> None:
        self.newest: float | None = None
        self._tool, self._mapping, self._known, self._scale = tool, mapping, known, scale

    def changes(self, *, since: float | None = None, now: float) -> Iterator[tuple[str, list[Label | Refusal]]]:
        """For each annotated task its response id, and the labels and withdrawals that the agent lacks.

        Parameters
        ----------
        since : only tasks that changed from then on, where the tool can tell; None: all
        now : time of withdrawals, UTC seconds

        Raises
        ------
        ConnectorError
            When the tool or the store cannot be asked. What came before may be published all the same.
        """
        for part in batched(self._tool.answered(since), PART):
            stored = self._stored([task.response_id for task in part if task.response_id])
            for task in part:
                self.newest = max(filter(None, (self.newest, task.updated_at)), default=None)
                known = stored.get(task.response_id, {})
                if task.keys or known:
                    yield task.response_id, [*self._news(task, known), *self._gone(task, known, now)]

    def _stored(self, response_ids: Sequence[str]) -> dict[str, dict[str, Label]]:
        """The newest event of each label of this tool, by response and label id."""
        stored: dict[str, dict[str, Label]] = defaultdict(dict)
        for label in self._known(response_ids):
            so_far = stored[label.response_id].get(label.label_id)
            if label.label_id.startswith(self._mapping.prefix) and (so_far is None or is_newer(label, so_far)):
                stored[label.response_id][label.label_id] = label
        return stored

    def _news(self, task: Answered, known: dict[str, Label]) -> Iterator[Label | Refusal]:
        for found in self._mapping.read(task.document, self._scale) if task.keys else ():
            if isinstance(found, Refusal) or (so_far := known.get(found.label_id)) is None or is_newer(found, so_far):
                yield found

    def _gone(self, task: Answered, known: dict[str, Label], now: float) -> Iterator[Label]:
        for label_id, label in known.items():
            key = label_id.removeprefix(self._mapping.prefix).partition("/")[0]
            if label.correct is None or key in task.keys or self._tool.has_annotation(task, key):
                continue
            event_time = max(now, label.event_time + AFTER_S)
            yield replace(label, correct=None, supersedes=label_id, event_time=event_time)
