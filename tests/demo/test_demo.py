"""The demo as it ends: what it names, where its results are, and how close it came to the truth."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from driftgauge.agent.demo.embedded import bundled, make_room, run_embedded
from driftgauge.agent.outlets.live_table import HEADINGS
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.recordings import read_recording

NEW, UNLABELLED, FEW = {"linu", "modn", "phys"}, {"seq"}, {"mod", "pct"}


class Told(NamedTuple):
    text: str
    folder: Path

    def names(self, pattern: str) -> set[str]:
        """The names that the closing words list after these words."""
        found = re.search(rf"^.*{pattern} ([^:.]+)[:.]", self.text, re.MULTILINE)
        return set(re.findall(r"[a-z]+(?=,| \(|$)", re.sub(r"\([^)]*\)", "()", found[1]))) if found else set()

    def estimates(self) -> list[dict[str, Any]]:
        return list(json.loads((self.folder / "results.json").read_text())["estimates"])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("demo")
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    run_embedded(folder, console)
    assert isinstance(console.file, io.StringIO)
    return Told(console.file.getvalue(), folder)


def accuracies(path: Path) -> dict[str, float]:
    recording = read_recording(path)
    return {str(d): float(recording.labels[recording.domain == d].mean()) for d in set(recording.domain.tolist())}


def test_it_names_the_domains_it_had_never_seen(told: Told) -> None:
    assert told.names("new since the start:") == NEW


def test_it_names_the_domains_with_few_labels_and_with_none(told: Told) -> None:
    assert told.names("No labels in") == UNLABELLED
    assert told.names("Few labels in") == FEW


def test_it_names_drift_where_the_traffic_became_harder(told: Told) -> None:
    before, after = (accuracies(path) for path in bundled())
    harder = {domain for domain in before if after[domain] < before[domain] - 0.03}
    named = told.names("Drift in")
    assert named <= harder
    assert len(named) >= len(harder) / 2
    lines = [line.split()[0] for line in told.text.splitlines() if re.match(r"  \w+ +\w+ (rose|fell) from", line)]
    assert set(lines) == named


def test_its_estimates_are_closer_to_the_truth_than_the_labels_alone(told: Told) -> None:
    estimates = told.estimates()
    n_labels = sum(e["n_labels"] for e in estimates)
    overall = sum(e["accuracy_labelled"] * e["n_labels"] for e in estimates if e["n_labels"]) / n_labels
    alone = [e["accuracy_labelled"] if e["n_labels"] else overall for e in estimates]
    ours = sum(abs(e["accuracy"] - e["true_accuracy"]) for e in estimates) / len(estimates)
    theirs = sum(abs(a - e["true_accuracy"]) for a, e in zip(alone, estimates, strict=True)) / len(estimates)
    assert len(estimates) == 13
    assert ours < theirs
    assert f"the estimates are {ours:.3f} away" in told.text
    assert f"the labels alone would be {theirs:.3f} away" in told.text


def test_what_it_wrote_is_where_it_says(told: Told) -> None:
    places = [line.partition(": ")[2] for line in told.text.splitlines() if re.match("(Store|Results|Report): ", line)]
    assert [Path(place).suffix for place in places] == [".db", ".json", ".md"]
    assert all(Path(place).is_relative_to(told.folder) and Path(place).stat().st_size for place in places)


def test_without_a_terminal_it_is_plain_lines(told: Told) -> None:
    assert "\x1b" not in told.text
    assert "1,000 of 4,178 events" in told.text
    assert [line for line in told.text.splitlines() if line.startswith("domain")]


def test_it_takes_the_place_of_an_earlier_one_and_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "demo.db").touch()
    (tmp_path / "left.over").touch()
    make_room(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "precious").touch()
    with pytest.raises(ConnectorError, match="not from an earlier demo"):
        make_room(tmp_path)
    assert (tmp_path / "precious").exists()


def test_the_picture_in_the_documents_shows_it(told: Told) -> None:
    picture = (Path(__file__).parents[2] / "docs" / "demo.svg").read_text().replace("\xa0", " ").replace("&#160;", " ")
    words = {*filter(None, HEADINGS), *(e["domain"] for e in told.estimates()), "new since the start: linu, modn, phys"}
    assert [word for word in sorted(words) if word not in picture] == []
