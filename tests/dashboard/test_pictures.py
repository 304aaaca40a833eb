"""Pictures of the page: for the README, and of every view for whoever changes it.

``UPDATE_GOLDEN=1`` writes docs/dashboard.png; ``DASHBOARD_PICTURES=FOLDER`` writes all views in both themes and three
widths, of which each run takes the narrow dark ones.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from driftgauge.agent.outlets.http import Server
from tests.dashboard.conftest import OpenTab
from tests.dashboard.test_access import ADDRESSES

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "dashboard.png"
MAX_BYTES = 200_000
FOLDER = Path(os.environ["DASHBOARD_PICTURES"]) if "DASHBOARD_PICTURES" in os.environ else None
SIZES = [(360, "dark"), *itertools.product((360, 1280, 2560), ("light", "dark"))][: None if FOLDER else 1]


def test_the_readme_has_a_small_picture_of_the_page(open_tab: OpenTab, server: Server) -> None:
    tab = open_tab(server, viewport={"width": 1200, "height": 860}, timezone_id="UTC", locale="en-GB")
    drawn = tab.open().screenshot()
    assert drawn.startswith(b"\x89PNG")
    if os.environ.get("UPDATE_GOLDEN"):
        PICTURE.write_bytes(drawn)
    assert PICTURE.stat().st_size < MAX_BYTES
    assert "](docs/dashboard.png)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("width", "theme"), SIZES)
def test_every_view_has_its_picture_taken(
    open_tab: OpenTab, server: Server, theme: str, width: int, tmp_path: Path
) -> None:
    tab = open_tab(server, color_scheme=theme, viewport={"width": width, "height": 1000})
    for name, address in ADDRESSES.items():
        path = (FOLDER or tmp_path) / f"{name}-{width}-{theme}.png"
        tab.open(address).screenshot(path=path, full_page=name != "response")
        assert path.stat().st_size > 10_000  # an empty page has less
