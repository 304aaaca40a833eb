"""The files of the page, without a browser."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from driftgauge.agent.outlets.report_style import STYLE
from driftgauge.models.alerts.guide import ACTIONS
from driftgauge.models.pending import DESCRIPTIONS

PAGE = Path(__file__).parents[2] / "agent" / "api" / "page"
OWN = sorted(path for path in PAGE.iterdir() if path.suffix in (".js", ".css", ".html") and "uPlot" not in path.name)


def test_uplot_is_the_one_that_the_note_names() -> None:
    noted = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", (PAGE / "uPlot.txt").read_text(), re.MULTILINE))
    assert {name: digest for digest, name in noted.items()} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in PAGE.glob("uPlot.*")
        if path.name != "uPlot.txt"
    }


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_the_page_asks_no_other_host_and_sets_text_only_as_text(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|localStorage", text)
    named = set(re.findall(r"https?://[^\s\"'`]+", text))
    assert named <= {"http://www.w3.org/2000/svg"}


def test_the_page_has_no_inline_script_or_style() -> None:
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))


def test_the_page_says_to_do_what_other_outlets_say() -> None:
    named = re.findall(r'^  (\w+): "(.*)",$', (PAGE / "guide.js").read_text(), re.MULTILINE)
    assert dict(named) == ACTIONS
    causes = re.search(r"CAUSES = \{\n(.*?)\};", (PAGE / "quality.js").read_text(), re.DOTALL)
    assert causes is not None
    assert dict(re.findall(r'^  (\w+): "(.*)",$', causes[1], re.MULTILINE)) == DESCRIPTIONS


def test_the_page_has_the_colours_of_a_report() -> None:
    css = (PAGE / "style.css").read_text()
    for theme in re.findall(r"(--paper:[^}]*)\}", STYLE):
        assert set(re.findall(r"--\w+:[^;]+", theme)) <= set(re.findall(r"--\w+:[^;}]+", css))


def test_modules_stay_small() -> None:
    assert {path.name for path in OWN if len(path.read_text().splitlines()) > 250} == set()
