"""A few simulated weeks in the suite; ``make year`` lives a whole year."""

from __future__ import annotations

from pathlib import Path

from tests.year.life import live
from tests.year.traffic import DAY_S

SMALL = {
    "windows.hop_s": 43_200,
    "context.max_fingerprints": 4,
    "bounds.max_domains": 9,
    "store.retention_s": 10 * DAY_S,
    "labels.horizon_s": 9 * DAY_S,
}


def test_weeks_with_releases_new_domains_imports_outages_and_restarts_keep_every_promise(tmp_path: Path) -> None:
    books = live(tmp_path, 48, per_hour=5.0, settings=SMALL)
    assert books.judge(10, {"contexts": 4, "domains": 10}) == []
    assert books.starts == {"after a kill": 2, "after a stop": 4}
    assert books.most["contexts"] == 4
    assert books.most["domains"] == 10
