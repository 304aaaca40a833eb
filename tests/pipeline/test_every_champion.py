"""The same log gives the same classifier, wherever batches end and whenever the agent starts again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.classify.fits import KINDS
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.outputs import Prediction
from tests.pipeline.logs import SETTINGS, make_log, play, remembered

LOG = make_log(3, 180)


@pytest.mark.parametrize("champion", KINDS)
def test_batches_and_restarts_change_nothing_for_any_champion(champion: str) -> None:
    challenger = "logistic_regression" if champion != "logistic_regression" else "random_forest"
    committee = CommitteeSettings(
        champion=champion, challengers=(challenger,), min_labels=3, refit_every_labels=40, gate_min_labels=5
    )
    settings = replace(SETTINGS, committee=committee)
    straight, restarted = MemoryStore(), MemoryStore()
    expected = play(straight, [LOG], settings)
    assert any(isinstance(output, Prediction) and output.p_correct is not None for output in expected)
    parts = LOG[:121], LOG[121:203], LOG[203:]
    outputs = [output for part in parts for output in play(restarted, [part[:50], part[50:]], settings)]
    assert outputs == expected
    assert remembered(straight) == remembered(restarted)


def test_a_new_context_starts_warm_from_the_last_one_also_after_a_restart() -> None:
    settings = replace(SETTINGS, warm_start=True)
    straight, restarted = MemoryStore(), MemoryStore()
    expected = play(straight, [LOG], settings)
    parts = [LOG[at : at + 25] for at in range(0, len(LOG), 25)]
    assert [output for part in parts for output in play(restarted, [part], settings)] == expected
    assert remembered(straight) == remembered(restarted)
