"""How descriptions become elements, tried in a real browser without the rest of the page."""

from __future__ import annotations

from typing import Any

import pytest

from driftgauge.agent.outlets.http import Server
from tests.dashboard.conftest import OpenTab

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture
def tried(open_tab: OpenTab, server: Server) -> Any:
    """Runs the body of a function that knows `h`, `show`, `Memory` and an empty `main`."""
    page = open_tab(server).open()
    start = (
        "async () => { const { h, show, Memory } = await import('/assets/dom.js'); history.pushState(null, '', '#');"
    )
    main = "const main = document.body.appendChild(document.createElement('div'));"
    return lambda body: page.evaluate(f"{start} {main} {body} }}")


def test_an_element_that_is_still_wanted_stays_and_keeps_focus_when_it_moves(tried: Any) -> None:
    found = tried("""
        const list = (...names) => names.map((name) => h("button", { key: name }, name));
        show(main, list("a", "b", "c"));
        const [, b] = main.children;
        b.focus();
        show(main, list("c", "b", "d", "a"));
        return [main.textContent, main.children[1] === b, document.activeElement === b];
    """)
    assert found == ["cbda", True, True]


def test_what_is_being_typed_is_not_replaced(tried: Any) -> None:
    found = tried("""
        const field = (value) => h("input", { value });
        show(main, field("la"));
        const [input] = main.children;
        input.focus();
        input.value = "law";
        show(main, field("lab"));
        const typed = input.value;
        input.blur();
        show(main, field("other"));
        return [typed, input.value];
    """)
    assert found == ["law", "other"]


def test_text_is_never_read_as_html(tried: Any) -> None:
    found = tried("""
        show(main, [h("p", { title: '"><script>' }, "<b>bold</b>"), "<i>", 0, null, false, ["x"]]);
        return [main.textContent, main.querySelectorAll("b, i, script").length];
    """)
    assert found == ["<b>bold</b><i>0x", 0]


def test_of_many_changes_some_wait_for_the_next_frame(tried: Any) -> None:
    found = tried("""
        const memory = new Memory();
        const draw = (value) => {
            const one = (key) => memory.item(key, value, () => h("p", { key }, value));
            show(main, Array.from({ length: 250 }, (_, n) => one(`${n}`)));
            const { isBehind } = memory;
            memory.sweep();
            return [isBehind, main.textContent.split("new").length - 1];
        };
        return [draw("old"), draw("new"), draw("new"), draw("new")];
    """)
    assert found == [[False, 0], [True, 100], [True, 200], [False, 250]]


def test_a_widget_is_told_of_new_data_and_closed_when_it_leaves(tried: Any) -> None:
    found = tried("""
        const told = [];
        const widget = { open(element, data) {
            told.push(`open ${data}`);
            return { update: (now) => told.push(`update ${now}`), close: () => told.push("close") };
        } };
        const drawn = (data) => h("section", null, h("div", { widget, data }));
        for (const data of [1, 1, 2]) show(main, drawn(data));
        show(main, null);
        return told;
    """)
    assert found == ["open 1", "update 2", "close"]
