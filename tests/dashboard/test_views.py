"""Each view in a real browser, on the store of the demo."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from driftgauge.agent.api.access import new_token
from tests.dashboard.conftest import OpenTab, Tab, served
from tests.dashboard.stores import HOSTILE, emit, hostile_store
from tests.store.examples import estimate

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def rows(page: Page) -> list[str]:
    return page.locator("tbody th").all_inner_texts()


def test_the_overview_lists_every_domain_the_worst_first(tab: Tab) -> None:
    page = tab.open()
    assert rows(page)[:2] == ["date", "sub"]
    assert len(rows(page)) == 13
    second = page.locator("tbody tr").nth(1)
    expect(second).to_contain_text("◆ below target")
    expect(second).to_contain_text("1 alarm")
    expect(page.locator(".lead")).to_have_text("13 domains: 2 below target, 10 not clear yet, 1 on target.")
    expect(page.locator("footer")).to_contain_text("Times are in Europe/Berlin")


def test_the_overview_is_searched_and_filtered_and_its_address_can_be_shared(tab: Tab) -> None:
    page = tab.open()
    page.get_by_label("Search").fill("ELE")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="meets target").click()
    expect(page.locator("main")).to_contain_text("No domain with the verdict “meets target” whose name has “ELE”.")
    page.get_by_role("button", name="all").click()
    expect(page.locator("tbody th")).to_have_text(["element"])
    assert rows(tab.open(page.url.partition("#")[2])) == ["element"]


def test_unknown_looks_unlike_zero_and_says_why(open_tab: OpenTab, url: str) -> None:
    nothing = {"accuracy": None, "ci_low": None, "ci_high": None, "accuracy_labelled": None}
    emit(
        url,
        estimate(domain="unknown", status="insufficient_data", status_reason="7 of 30 responses", **nothing),
        estimate(domain="zero", accuracy=0.0, ci_low=0.0, ci_high=0.1, n_labels=0),
    )
    with served(url) as server:
        page = open_tab(server).open()
        unknown, zero = (page.locator("tbody tr", has_text=name) for name in ("unknown", "zero"))
        expect(unknown.locator("td").nth(1)).to_have_text("– unknown: 7 of 30 responses")
        expect(unknown).to_contain_text("? no estimate")
        expect(zero.locator("td").nth(1)).to_contain_text("0.00")
        expect(zero.locator("td").nth(6)).to_have_text("0")


def test_an_empty_store_is_explained(open_tab: OpenTab, url: str) -> None:
    emit(url)
    with served(url) as server:
        page = open_tab(server).open()
        expect(page.locator("main")).to_contain_text("The first estimates come when the first window ends.")


def test_names_of_domains_are_text_whatever_they_hold(open_tab: OpenTab, url: str) -> None:
    hostile_store(url)
    with served(url) as server:
        tab = open_tab(server)
        page = tab.open()
        shown = rows(page)
        assert len(shown) == len(HOSTILE)
        assert "<img src=x onerror=alert(1)>" in shown
        assert "line one line two tab" in shown
        assert "emoji 👩‍👩‍👧 \ufffdturned\ufffd" in shown
        assert page.locator("main img, main script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for name in shown:
            page.get_by_role("link", name=name, exact=True).click()
            expect(page.locator("h1")).to_have_text(name)
            page.go_back()
            expect(page.locator("h1")).to_have_text("Accuracy of each domain")


def test_a_domain_shows_its_estimate_over_time_and_what_stands_behind_it(tab: Tab) -> None:
    page = tab.open("domain=date", heading="date")
    expect(page.locator(".lead")).to_contain_text("from 93 responses and 22 labels")
    expect(page.locator(".timeline canvas")).to_be_visible()
    expect(page.locator(".readout")).to_contain_text("93 responses, 22 labels")
    for section in (
        "Over time",
        "What changed",
        "Lists",
        "Slices",
        "Predictions and labels",
        "What responses look like",
    ):
        expect(page.get_by_role("region", name=section, exact=True)).to_be_visible()
    page.get_by_text("The numbers as a table").click()
    expect(page.get_by_role("table", name="Accuracy over time")).to_contain_text("2026-01-01 02:05")  # in Berlin
    expect(page.get_by_role("table", name="Slices")).to_contain_text("difficulty=")
    expect(page.get_by_role("table", name="Segments")).to_contain_text("labels prove it")
    expect(page.get_by_role("region", name="Lists")).to_contain_text("On the data list")


def test_responses_come_in_pages_and_one_opens_with_its_features_and_labels(tab: Tab) -> None:
    page = tab.open("domain=date", heading="date")
    responses = page.get_by_role("table", name="Newest responses").locator("tbody tr")
    expect(responses).to_have_count(25)
    newest = responses.first.locator("th").inner_text()
    page.get_by_role("button", name="Older").click()
    expect(responses.filter(has_text=newest)).to_have_count(0)
    page.get_by_role("button", name="Newest").click()
    expect(responses.first.locator("th")).to_have_text(newest)
    page.get_by_label("Labels", exact=True).select_option("only with a label")
    expect(responses.first).to_contain_text("drawn, weight 4.0")
    responses.first.get_by_role("link").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("table", name="Features of the response")).to_contain_text("entropy")
    expect(dialog.get_by_role("table", name="Labels of the response")).to_contain_text("0.250")
    expect(page).to_have_url(re.compile("response="))
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page).not_to_have_url(re.compile("response="))


def test_alerts_are_open_ones_or_all_and_say_what_to_do(tab: Tab) -> None:
    page = tab.open("view=alerts", heading="Alerts")
    expect(page.get_by_role("table")).to_contain_text("To do: act on the domain.")
    n_open = page.locator("tbody tr").count()
    page.get_by_label("State").select_option("all, also those that are over")
    expect(page.get_by_role("table")).to_contain_text("in a context not seen before")
    assert page.locator("tbody tr").count() > n_open
    page.get_by_label("Severity").select_option("alarms")
    expect(page.locator("tbody .badge:not(.alarm)")).to_have_count(0)


def test_the_lists_name_what_to_get_and_what_to_label(tab: Tab) -> None:
    page = tab.open("view=data", heading="Data to get")
    expect(page.get_by_role("table", name="Data to get")).to_contain_text("points to gain")
    expect(page.get_by_role("table", name="Segments")).to_contain_text("predictions suggest it")
    page.get_by_role("link", name="Label list").click()
    expect(page.locator("h1")).to_have_text("Responses to label")
    page.locator("summary").nth(1).click()
    expect(page.locator("details[open]")).to_have_count(1)
    response = page.locator("tbody tr").first.locator("th").inner_text()
    link = page.get_by_role("link", name="Open", exact=True).first
    expect(link).to_have_attribute("href", f"https://tool.example/{response}")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_classifier_versions_are_compared(tab: Tab) -> None:
    page = tab.open("view=classifiers", heading="Classifier versions")
    versions = page.get_by_role("table", name="Versions of context")
    expect(versions.locator("tr", has_text="predicts")).to_have_count(1)
    expect(versions).to_contain_text("higher")
    page.locator("summary", has_text="Predictions by domain").click()
    expect(page.get_by_role("table", name="Predictions by domain")).to_contain_text("as published")


def test_a_rollback_is_confirmed_needs_its_token_and_a_refusal_is_said(open_tab: OpenTab, demo: str) -> None:
    (reads, read), (operates, operate) = new_token(), new_token()
    tokens = {"server.tokens.read": [read], "server.tokens.operate": [operate]}
    with served(demo, settings=tokens) as server:
        tab = open_tab(server)
        page = tab.open("view=classifiers", heading="Token")
        page.get_by_label("Token").fill(reads)
        page.keyboard.press("Enter")
        roll_back = page.get_by_role("button", name="Roll back to 1")
        roll_back.click()
        dialog = page.get_by_role("dialog", name="Roll back to version 1?")
        expect(dialog).to_contain_text("then predicts for all new responses")
        dialog.get_by_role("button", name="Roll back to version 1").click()
        expect(dialog.get_by_role("alert")).to_contain_text("Not rolled back: The token does not have the role operate")
        dialog.get_by_label("Token").fill(operates)
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_have_text(
            "Not rolled back: No agent runs here; use driftgauge rollback."
        )
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_have_count(0)
        expect(roll_back).to_be_focused()
        tab.errors.clear()  # the browser writes each refusal into its console


def test_data_quality_names_rejected_records_without_their_content(tab: Tab) -> None:
    page = tab.open("view=quality", heading="Data quality")
    expect(page.locator(".lead")).to_contain_text("of 3,830 stored responses have a prediction")
    newest = page.get_by_role("table", name="Newest rejected records")
    expect(newest.locator("tbody tr")).to_have_count(3)
    expect(newest).to_contain_text("<b>at byte</b> 3")
    expect(page.locator("main")).not_to_contain_text("{not json")
    expect(page.locator("main")).to_contain_text("No label of the last period names its source.")


def test_a_domain_that_is_not_there_is_said_to_be_missing(tab: Tab) -> None:
    page = tab.open("domain=nowhere")
    expect(page.get_by_role("alert")).to_be_visible()
    tab.errors.clear()  # the browser writes each 404 into its console


def test_a_token_is_asked_for_and_kept_in_the_tab_only(open_tab: OpenTab, demo: str) -> None:
    token, digest = new_token()
    with served(demo, settings={"server.tokens.read": [digest]}) as server:
        tab = open_tab(server)
        page = tab.open("domain=date", heading="Token")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("h1")).to_have_text("Token")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("date")
        expect(page.locator("#connection")).to_have_text("● live")
        assert page.evaluate("[localStorage.length, document.cookie, location.href.includes(sessionStorage[0])]")[
            :2
        ] == [0, ""]
        page.reload()
        expect(page.locator("h1")).to_have_text("date")
        other = tab.page.context.new_page()  # another tab knows nothing of it
        other.goto(page.url)
        expect(other.locator("h1")).to_have_text("Token")
        tab.errors.clear()  # the browser writes each 401 into its console
