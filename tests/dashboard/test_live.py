"""The page follows the store by itself, and comes back when the server does."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from driftgauge.agent.outlets.health import Health
from driftgauge.agent.outlets.http import Response
from driftgauge.connectors.base import ConnectorError, TopicPartition
from driftgauge.models.outputs import Estimate
from tests.dashboard.conftest import OpenTab, served
from tests.dashboard.stores import emit
from tests.store.examples import estimate

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def window(number: int, accuracy: float, domain: str = "law") -> Estimate:
    end = 3_600.0 * number
    return estimate(
        domain=domain, window_start=end - 3_600.0, window_end=end, accuracy=accuracy, ci_low=accuracy - 0.05,
        ci_high=accuracy + 0.05,
    )  # fmt: skip


def test_a_change_of_the_store_is_shown_and_focus_scroll_and_what_is_open_stay(open_tab: OpenTab, url: str) -> None:
    emit(url, *(window(n, 0.8) for n in (1, 2)))
    with served(url) as server:
        page = open_tab(server, viewport={"width": 800, "height": 500}).open("domain=law", heading="law")
        page.get_by_text("The numbers as a table").click()
        page.get_by_role("button", name="Zoom in").focus()
        page.evaluate("scrollTo(0, 300)")
        emit(url, window(3, 0.9))
        expect(page.locator(".lead")).to_contain_text("accuracy 0.90")
        expect(page.locator("summary")).to_contain_text("3 estimates")
        expect(page.locator("details")).to_have_attribute("open", "")
        expect(page.get_by_role("button", name="Zoom in")).to_be_focused()
        assert page.evaluate("scrollY") == 300


def test_the_page_says_that_it_is_not_connected_and_connects_again(open_tab: OpenTab, url: str) -> None:
    emit(url, window(1, 0.8))
    with served(url) as server:
        page = open_tab(server).open()
        expect(page.locator("#connection")).to_have_text("● live")
    expect(page.locator("#connection")).to_contain_text("Not connected since")
    expect(page.locator("tbody")).to_contain_text("0.80")
    emit(url, window(2, 0.9))
    with served(url, server.port):
        expect(page.locator("#connection")).to_have_text("● live", timeout=60_000)
        expect(page.locator("tbody")).to_contain_text("0.90")


def test_an_agent_that_is_not_ready_is_named_above_everything(open_tab: OpenTab, url: str) -> None:
    health = Health()

    async def ask(_: str) -> Response:
        return health.status()

    emit(url, window(1, 0.8))
    with served(url, ask=ask) as server:
        health.failure(ConnectorError("broker a:9092 is away", retriable=True))
        page = open_tab(server).open()
        notice = page.get_by_text("The agent is not ready, so numbers may be old: broker a:9092 is away.")
        expect(notice).to_be_visible()
        health.failure(None)
        health.lag({TopicPartition("responses", 0): 1_200})
        emit(url, window(2, 0.9))
        expect(page.locator("footer")).to_contain_text("1,200 records not read yet")
        expect(notice).to_have_count(0)
