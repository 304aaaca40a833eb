"""The finished demo: what its summary names, where its results are, and how close its estimates are to the truth."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from driftgauge.agent.demo.embedded import bundled, make_room
from driftgauge.agent.outlets.live_table import HEADINGS
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.recordings import read_recording
from tests.api.serving import ask
from tests.demo.signals import accept_ctrl_c

pytestmark = pytest.mark.xdist_group("demo")  # so that one worker makes the fixtures of this module, once

NEW, UNLABELLED, FEW = {"animal", "date", "plural"}, {"capital"}, {"compare", "unit"}


class FinishedDemo(NamedTuple):
    text: str
    folder: Path

    def names(self, pattern: str) -> set[str]:
        """The names that the summary lists after these words."""
        found = re.search(rf"^.*{pattern} ([^:.]+)[:.]", self.text, re.MULTILINE)
        return set(re.findall(r"[a-z]+(?=,| \(|$)", re.sub(r"\([^)]*\)", "()", found[1]))) if found else set()

    def estimates(self) -> list[dict[str, Any]]:
        return list(json.loads((self.folder / "results.json").read_text())["estimates"])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedDemo]:
    """The command with its dashboard, up to where it waits for Ctrl-C."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "driftgauge.agent.cli", "demo", "--serve", "--folder", str(folder)]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=accept_ctrl_c) as run:
        assert run.stdout is not None
        lines = list(takewhile(lambda line: not line.startswith("The dashboard stays open"), run.stdout))
        yield FinishedDemo("".join(lines), folder)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 0


def accuracies(path: Path) -> dict[str, float]:
    recording = read_recording(path)
    return {str(d): float(recording.labels[recording.domain == d].mean()) for d in set(recording.domain.tolist())}


def test_the_demo_names_domains_that_are_new(demo: FinishedDemo) -> None:
    assert demo.names("new since the start:") == NEW


def test_the_demo_names_domains_with_few_or_no_labels(demo: FinishedDemo) -> None:
    assert demo.names("No labels in") == UNLABELLED
    assert demo.names("Few labels in") == FEW


def test_the_demo_names_drift_where_the_traffic_became_harder(demo: FinishedDemo) -> None:
    before, after = (accuracies(path) for path in bundled())
    harder = {domain for domain in before if after[domain] < before[domain] - 0.03}
    named = demo.names("Drift in")
    assert named <= harder
    assert len(named) >= len(harder) / 2
    lines = [line.split()[0] for line in demo.text.splitlines() if re.match(r"  \w+ +\w+ (rose|fell) from", line)]
    assert set(lines) == named


def test_the_estimates_of_the_demo_are_closer_to_the_truth_than_labels_alone(demo: FinishedDemo) -> None:
    estimates = demo.estimates()
    n_labels = sum(e["n_labels"] for e in estimates)
    overall = sum(e["accuracy_labelled"] * e["n_labels"] for e in estimates if e["n_labels"]) / n_labels
    alone = [e["accuracy_labelled"] if e["n_labels"] else overall for e in estimates]
    estimated = sum(abs(e["accuracy"] - e["true_accuracy"]) for e in estimates) / len(estimates)
    labelled = sum(abs(a - e["true_accuracy"]) for a, e in zip(alone, estimates, strict=True)) / len(estimates)
    assert len(estimates) == 13
    assert estimated < labelled
    assert f"the estimates are {estimated:.3f} away" in demo.text
    assert f"the labels alone would be {labelled:.3f} away" in demo.text


def test_the_dashboard_of_the_demo_stays_open(demo: FinishedDemo) -> None:
    port = int(re.findall(r"^Dashboard: http://127.0.0.1:([0-9]+) ", demo.text)[0])
    assert len(ask(port, "/v1/domains").json["items"]) == 13
    assert ask(port, "/openapi.json").json["openapi"] == "3.1.0"
    assert ask(port, "/").headers["content-type"].startswith("text/html")


def test_the_demo_names_the_files_that_it_wrote(demo: FinishedDemo) -> None:
    places = [line.partition(": ")[2] for line in demo.text.splitlines() if re.match("(Store|Results|Report): ", line)]
    assert [Path(place).suffix for place in places] == [".db", ".json", ".html"]
    assert all(Path(place).is_relative_to(demo.folder) and Path(place).stat().st_size for place in places)


def test_without_a_terminal_the_demo_prints_plain_lines(demo: FinishedDemo) -> None:
    assert "\x1b" not in demo.text
    assert "1,000 of 4,574 events" in demo.text
    assert [line for line in demo.text.splitlines() if line.startswith("domain")]


def test_the_demo_replaces_the_folder_of_an_earlier_demo_but_no_other(tmp_path: Path) -> None:
    (tmp_path / "demo.db").touch()
    (tmp_path / "left.over").touch()
    make_room(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "precious").touch()
    with pytest.raises(ConnectorError, match="not from an earlier demo"):
        make_room(tmp_path)
    assert (tmp_path / "precious").exists()


def test_the_picture_in_the_documents_shows_the_demo(demo: FinishedDemo) -> None:
    picture = (Path(__file__).parents[2] / "docs" / "demo.svg").read_text().replace("\xa0", " ").replace("&#160;", " ")
    words = {
        *filter(None, HEADINGS),
        *(e["domain"] for e in demo.estimates()),
        "new since the start: animal, date, plural",
    }
    assert [word for word in sorted(words) if word not in picture] == []
