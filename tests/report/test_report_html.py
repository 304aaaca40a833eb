"""The report as a page: names are text, nothing comes from elsewhere, every domain is there, however many there are."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.agent.outlets.domain_report import DomainReport
from driftgauge.agent.outlets.markup import element
from driftgauge.agent.outlets.report import MAX_POINTS, Report, make_report
from driftgauge.agent.outlets.report_conditions import parse_condition
from driftgauge.agent.outlets.report_files import to_json_report
from driftgauge.agent.outlets.report_html import MAX_PICTURES, to_html
from driftgauge.agent.outlets.report_markdown import to_markdown
from driftgauge.agent.outlets.report_words import compared, first_steps, verdicts
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.sql_store import open_store
from tests.report.examples import END, HOSTILE, HOUR_S, START, alert, estimate, unknown

NAMES = [
    HOSTILE, "<script>alert(1)</script>", "';--\"&amp;", "👩‍💻 émoji 日本", "\u202egnp.exe",
    "\x00\x1b[2J", "a" * 256, "https://example.com/x", "</style></svg>",
]  # fmt: skip
KNOWN = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "ol", "ul", "li", "div", "table",
    "thead", "tbody", "tr", "th", "td", "strong", "figure", "figcaption", "svg", "desc", "line", "path", "circle",
    "rect", "text",
}  # fmt: skip


class Page(HTMLParser):
    """What a browser sees: elements, attributes and texts. Elements that are not closed in order are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def many(report: Report, names: list[str], n_points: int = 1) -> Report:
    """A report on domains with these names, each with so many estimates over time."""
    times = [START + HOUR_S * h for h in range(1, n_points + 1)]
    history = tuple(estimate("any", 0.5 + i % 40 / 100, 0.1, window_end=end) for i, end in enumerate(times))
    newest = [replace(history[-1], domain=name) for name in names]
    domains = [DomainReport(made, None, 0.8, (*history[:-1], made)) for made in newest]
    return replace(report, domains=tuple(sorted(domains, key=lambda domain: domain.order)))


def shown(name: str) -> str:
    """A name as a page shows it: white space is a blank, what cannot be printed is replaced."""
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else " " if c.isspace() else "\ufffd" for c in name)


def test_hostile_names_are_text(report: Report) -> None:
    hostile = replace(
        many(report, NAMES, 3),
        alerts=tuple(alert(i, name, "drift", "alarm", START, f"of {name}") for i, name in enumerate(NAMES)),
    )
    page = Page(to_html(hostile))
    for name in NAMES:
        assert page.texts.count(shown(name)) >= 3  # table, heading and picture
    assert {tag for tag, _ in page.elements} <= KNOWN
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


@given(st.text(), st.text())
def test_any_text_comes_back_as_text(text: str, attribute: str) -> None:
    page = Page(element("p", text, title=attribute))
    assert "".join(page.texts) == shown(text)
    assert [tag for tag, _ in page.elements] == ["p"]
    assert set(page.elements[0][1]) == {"title"}
    str(element("p", text)).encode()


def test_the_page_asks_nobody_for_anything(report: Report) -> None:
    text = to_html(many(report, NAMES, 3))
    page = Page(text)
    assert page.count("script") == page.count("link") == page.count("img") == page.count("iframe") == 0
    references = {"src", "href", "xlink:href", "srcset", "action", "data", "style", "background"}
    assert [a for _, attributes in page.elements for a in attributes if a in references] == []
    assert "url(" not in text
    assert "@import" not in text
    assert re.findall(r"https?://[^<\s]*", text.replace("https://example.com/x", "")) == []
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none'")


def test_every_picture_has_a_title_and_a_description(report: Report) -> None:
    page = Page(to_html(report))
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(pictures) == 1 + 2 * len(report.domains) + 1 + 3  # axis, row and card of each, reliability, data list
    assert all(attributes["role"] == "img" for attributes in pictures)
    assert page.count("desc") == len(pictures)
    assert page.count("title") == len(pictures) + 1


def test_a_thousand_domains_are_all_in_a_page_of_bounded_size(report: Report) -> None:
    names = [f"domain-{i:04}" for i in range(1_000)]
    large = many(report, names, MAX_POINTS)
    text = to_html(large)
    page = Page(text)
    assert set(names) <= set(page.texts)
    assert page.count("figure") == MAX_PICTURES + 1  # reliability
    assert page.count("svg") == 2 * MAX_PICTURES + 1 + 1 + 3  # axis, reliability, data list
    assert len(text) < 2_000_000


def test_numbers_say_how_many_responses_and_labels_are_behind_them(report: Report) -> None:
    texts = Page(to_html(report)).texts
    assert "0.61 (0.57 to 0.65), 400 responses, 25 labels. 22 points less than in the period before (0.83)." in texts
    assert "No estimate: 7 of 30 responses." in " ".join(texts)
    assert "85 of 85 stored responses have a prediction." in texts


def test_a_period_with_a_single_unknown_domain_makes_sense(report: Report) -> None:
    only = unknown("new", status="insufficient_data", status_reason="7 of 30 responses", n_events=7, n_labels=0)
    nothing = replace(
        report, domains=(DomainReport(only, None, 0.8, (only,)),), alerts=(), acquisition=None, label_lists=(),
        slices=(), weak_segments=None, judged={}, reliability=(),
    )  # fmt: skip
    page = Page(to_html(nothing))
    assert "1 domain: 1 without an estimate." in page.texts
    assert "no estimate" in page.texts
    assert page.count("path") == 0  # neither a line nor a mark: an unknown value is not drawn as a number


@pytest.mark.parametrize("make", [to_html, to_markdown, to_json_report])
def test_the_same_report_gives_the_same_text(make: object, report: Report) -> None:
    assert callable(make)
    assert make(report) == make(replace(report))


def test_a_report_has_the_estimates_of_a_domain_over_time(report: Report) -> None:
    (math,) = (domain for domain in report.domains if domain.estimate.domain == "math")
    assert len(math.history) == 8
    assert math.history[-1] == math.estimate
    assert [made.accuracy is None for made in math.history] == [False] * 3 + [True] * 2 + [False] * 3


def test_of_many_estimates_over_time_a_report_keeps_some_evenly_and_the_newest(url: str) -> None:
    times = [START + 60 * n for n in range(1, 2 * MAX_POINTS + 51)]
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as transaction:
        transaction.emit([estimate("math", 0.7, 0.1, window_end=end) for end in times])
    with closing(open_queries(url)) as queries:
        (math,) = make_report(queries, START, END).domains
    assert [made.window_end for made in math.history] == times[2::3]
    assert math.history[-1] == math.estimate
    assert len(math.history) <= MAX_POINTS


def test_the_first_step_is_the_alarm_and_a_warning_of_its_domain_adds_nothing(report: Report) -> None:
    steps = first_steps(report)
    assert steps[0].startswith("math: Act on the domain. Alarm: ")
    assert not any("Warning" in step for step in steps)
    calm = replace(report, alerts=tuple(a for a in report.alerts if a.severity == "warning"))
    assert any("Warning: p_correct of math" in step for step in first_steps(calm))


def test_the_verdicts_are_counted_in_one_sentence(report: Report) -> None:
    expected = "5 domains: 1 below target, 1 not clear yet, 1 without an estimate, 2 on target."
    assert verdicts(report) == expected


def test_the_change_is_told_in_points() -> None:
    now, before = estimate("a", 0.75, 0.1), estimate("a", 0.744, 0.1)
    assert compared(DomainReport(now, before, 0.8)) == "1 point more than in the period before (0.74)."
    assert compared(DomainReport(now, now, 0.8)) == "As in the period before (0.75)."
    assert compared(DomainReport(now, None, 0.8)) == "Unknown in the period before."


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("below_target>0", True),
        ("below_target > 1", False),
        ("unclear==1", True),
        ("no_estimate>=1", True),
        ("meets_target<2", False),
        ("domains<=5", True),
        ("alarms>0", True),
        ("warnings==1", True),
        ("dead_letters>4", False),
    ],
)
def test_a_condition_counts_what_the_report_holds(text: str, holds: bool, report: Report) -> None:
    assert parse_condition(text).holds(report) == holds


@pytest.mark.parametrize("text", ["", "below_target", "accuracy>0", "below_target>-1", "below_target=>0", "alarms>0.5"])
def test_what_is_no_condition_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a condition"):
        parse_condition(text)
