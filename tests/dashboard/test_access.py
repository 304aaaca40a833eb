"""The page for everybody: axe finds nothing in either theme, and the keyboard reaches everything."""

from __future__ import annotations

from importlib.resources import files

import pytest
from playwright.sync_api import Page, expect

from driftgauge.agent.outlets.http import Server
from tests.dashboard.conftest import OpenTab, Tab, served

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ADDRESSES = {
    "overview": "",
    "domain": "domain=date",
    "response": "domain=date&response=1-chat_later-1230",
    "alerts": "view=alerts&state=all",
    "data": "view=data",
    "labels": "view=labels&open=date",
    "classifiers": "view=classifiers",
    "quality": "view=quality",
}


def violations(page: Page) -> list[str]:
    """What axe finds wrong, one line each."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    run = "(rules) => axe.run(document, {runOnly: rules, resultTypes: ['violations']})"
    found = page.evaluate(run, RULES)["violations"]
    return [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize(("width", "theme"), [(360, "light"), (1280, "light"), (1280, "dark")])
def test_axe_finds_nothing_wrong(open_tab: OpenTab, server: Server, width: int, theme: str) -> None:
    tab = open_tab(server, color_scheme=theme, viewport={"width": width, "height": 800})
    assert [(name, violations(tab.open(address))) for name, address in ADDRESSES.items()] == [
        (n, []) for n in ADDRESSES
    ]


def test_axe_finds_nothing_wrong_where_a_token_is_asked_for(open_tab: OpenTab, demo: str) -> None:
    with served(demo, settings={"server.tokens.read": ["0" * 64]}) as server:
        tab = open_tab(server)
        assert violations(tab.open("", heading="Token")) == []
        tab.errors.clear()  # the browser writes each 401 into its console


@pytest.mark.parametrize("width", [320, 2560])
def test_no_view_is_wider_than_the_screen(open_tab: OpenTab, server: Server, width: int) -> None:
    tab = open_tab(server, viewport={"width": width, "height": 800})
    too_wide = [
        name
        for name, address in ADDRESSES.items()
        if tab.open(address).evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    ]
    assert too_wide == []


def test_the_keyboard_leads_through_the_page(tab: Tab) -> None:
    page = tab.open()
    press = page.keyboard.press
    press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    press("Enter")
    expect(page.locator("main")).to_be_focused()
    press("Tab")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("date")
    expect(page.locator("tbody tr")).to_have_count(1)
    for _ in range(6):  # five verdicts, and the table, which scrolls
        press("Tab")
    expect(page.get_by_role("region", name="Domains, the worst first")).to_be_focused()
    press("Tab")
    press("Enter")
    expect(page.locator("h1")).to_have_text("date")
    expect(page.locator("h1")).to_be_focused()


def test_the_chart_is_moved_and_read_with_keys(tab: Tab) -> None:
    page = tab.open("domain=add", heading="add")
    chart = page.get_by_role("group", name="Accuracy over time")
    chart.focus()
    readout = page.locator(".readout")
    expect(readout).to_have_attribute("aria-live", "polite")
    newest = readout.inner_text()
    assert newest.startswith("Newest: 2026-01-01 02:05: ")
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    expect(readout).not_to_have_text(newest)
    for key in ("+", "-", "0"):
        page.keyboard.press(key)
    expect(chart).to_be_focused()


def test_focus_returns_to_what_opened_a_response(tab: Tab) -> None:
    page = tab.open("domain=date", heading="date")
    link = page.get_by_role("table", name="Newest responses").locator("tbody tr").nth(3).get_by_role("link")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(link).to_be_focused()
