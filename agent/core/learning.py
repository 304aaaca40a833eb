"""Learning from labels: the learner of a context is scored and updated, and fitted again when due."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from driftgauge.agent.core.batch import Batch
from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.roster import Roster
from driftgauge.models.labels import Truth
from driftgauge.models.rows import ResponseRow, Rows
from driftgauge.models.signals.feature_sets import in_width


class Learning:
    """Test-then-train: a prediction is scored before its label is learned."""

    def __init__(self, batch: Batch, roster: Roster) -> None:
        self._batch = batch
        self._roster = roster

    def score_and_learn(self, context: ContextState, row: ResponseRow, truth: Truth, *, is_revision: bool) -> None:
        """Score the prediction that was made before this label, then learn the label.

        A revision is learned but scores no prediction.
        """
        self._roster.touch_context(row.fingerprint)
        context.committee.score_and_learn(
            row.features[None],
            np.array([truth.correct]),
            np.array([truth.weight]),
            [self._roster.name_in_committee(row.series)],
            np.array([row.p_correct]),
            is_revision=is_revision,
        )
        if context.committee.wants_refit():
            context.committee.refit(self._training_rows(row.fingerprint))

    def _training_rows(self, fingerprint: str) -> Rows:
        """Labelled rows; those with weight 0 teach the classifier, and do not count in estimates."""
        settings = self._batch.settings
        rows = self._batch.memory.labelled(fingerprint, settings.committee.max_training_rows)
        return replace(rows, features=in_width(rows.features, settings.features.width))
