"""A served store and a tab of a real browser. A test fails on errors in the console and on requests to other hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from driftgauge.agent.api.agent_pages import Ask
from driftgauge.agent.api.build import open_server
from driftgauge.agent.outlets.http import Server, listen
from driftgauge.config.load import load_settings
from tests.browser import chromium
from tests.dashboard.stores import TARGETS, demo_store

READY = "main:not([aria-busy]) h1"


@contextmanager
def served(
    url: str, port: int = 0, settings: Mapping[str, Any] | None = None, ask: Ask | None = None
) -> Iterator[Server]:
    """The API and the page on a store."""
    loaded = load_settings(None, {"store.url": url, **TARGETS, **(settings or {})})
    with closing(open_server(loaded, listen("127.0.0.1", port), ask)) as server:
        yield server


class Tab:
    """A page of the browser.

    Attributes
    ----------
    errors : what the console and the page complained about; a test that provokes some clears it. That a server is gone
        is no error: tests close servers
    hosts : those that were asked for anything
    """

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.origin = page, f"http://{server.host}:{server.port}"
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)

    def open(self, address: str = "", heading: str | None = None) -> Page:
        """Show an address of the page, the part after #, and wait for its heading."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.origin}/#{address}")
        self.page.locator(READY, has_text=heading).wait_for()
        return self.page

    def _console(self, message: ConsoleMessage) -> None:
        is_closed_server = "net::ERR_CONNECTION" in message.text or "net::ERR_INCOMPLETE" in message.text
        if message.type in ("error", "warning") and not is_closed_server:
            self.errors.append(message.text)

    def _request(self, request: Request) -> None:
        if request.url.startswith("http"):
            self.hosts.add(urlsplit(request.url).netloc)


OpenTab = Callable[..., Tab]


@pytest.fixture(scope="package")  # its event loop is in the way of other tests
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the store of the demo."""
    return demo_store(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def server(demo: str) -> Iterator[Server]:
    """The store of the demo, served. Nobody writes to it."""
    with served(demo) as server:
        yield server


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a store of the test's own."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[OpenTab]:
    """Opens tabs, with options of a browser context."""
    tabs: list[Tab] = []
    with ExitStack() as stack:

        def opened(server: Server, **options: Any) -> Tab:
            context = browser.new_context(**{"timezone_id": "Europe/Berlin", "locale": "de-DE", **options})
            stack.callback(context.close)
            tabs.append(Tab(context.new_page(), server))
            return tabs[-1]

        yield opened
    for tab in tabs:
        assert tab.errors == []
        assert tab.hosts <= {tab.origin.removeprefix("http://")}


@pytest.fixture
def tab(open_tab: OpenTab, server: Server) -> Tab:
    """A tab on the store of the demo."""
    return open_tab(server)
