"""The overview with 1,000 domains: complete, and responsive while it scrolls and while the store changes."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import OpenTab, served
from tests.dashboard.stores import emit, large_store
from tests.store.examples import estimate

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

N = 1_000

FRAMES = """
window.frames_ms = [];
let before = performance.now();
const frame = (now) => { frames_ms.push(now - before); before = now; requestAnimationFrame(frame); };
requestAnimationFrame(frame);
"""
SCROLL = """
(n) => new Promise((resolve) => {
  let left = 5_000;  // frames
  const step = () => {
    scrollBy(0, 400);
    const isAtEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 1;
    const isWhole = isAtEnd && document.querySelectorAll("tbody tr").length === n;
    if (isWhole || !--left) resolve();
    else requestAnimationFrame(step);
  };
  step();
})
"""


def test_1000_domains_are_searched_filtered_scrolled_and_kept_up_to_date(
    open_tab: OpenTab, url: str, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    large_store(url, N, n_windows=12)
    with served(url, settings={"targets.default": 0.8}) as server:
        tab = open_tab(server)
        tab.page.add_init_script(FRAMES)
        page = tab.open()
        measured = {}

        def measure(name: str) -> None:
            times = sorted(page.evaluate("frames_ms.splice(0)"))
            measured[name] = (
                f"{len(times)} frames, median {statistics.median(times):.0f} ms, longest {times[-1]:.0f} ms"
            )

        expect(page.locator(".lead")).to_contain_text("1,000 domains")
        expect(page.locator("tbody tr")).to_have_count(100)
        measure("load")
        page.evaluate(SCROLL, N)
        expect(page.locator("tbody tr")).to_have_count(N)
        expect(page.get_by_role("button", name="more")).to_have_count(0)
        assert len(set(page.locator("tbody th").all_inner_texts())) == N
        measure("scroll to the end")
        emit(
            url,
            estimate(domain="domain-0007", window_start=0.0, window_end=9e6, accuracy=0.123, ci_low=0.1, ci_high=0.2),
        )
        expect(page.locator("tbody tr").first).to_contain_text("0.12")
        expect(page.locator("tbody tr")).to_have_count(N)
        measure("one domain changes")
        page.evaluate("scrollTo(0, 0)")
        page.get_by_label("Search").fill("domain-0123")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.get_by_label("Search").fill("")
        page.get_by_role("button", name="meets target").click()
        expect(page.locator("tbody tr", has_text="below target")).to_have_count(0)
        measure("search and filter")
    for name, times in measured.items():
        record_property(name, times)
        with capsys.disabled():
            print(f"\n1,000 domains, {name}: {times}", end="")
