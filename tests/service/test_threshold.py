"""The command ``threshold`` on stores that `driftgauge replay` made."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app


def made(*arguments: object) -> tuple[int, str]:
    ended = CliRunner().invoke(app, list(map(str, arguments)))
    return ended.exit_code, ended.output


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replay of 1,000 responses of two domains, of which half get a label."""
    folder, rng = tmp_path_factory.mktemp("replayed"), np.random.default_rng(1)
    correct = rng.random(1000) < 0.7
    lengths = rng.integers(5, 20, 1000)
    np.savez(
        folder / "recording.npz",
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        domain=np.array(["law", "tax"])[rng.integers(0, 2, 1000)],
        chosen_logprob=-rng.exponential(np.repeat(np.where(correct, 0.1, 0.6), lengths)).astype(np.float32),
        correct=correct.astype(np.int8),
    )
    path = folder / "store.db"
    code, output = made("replay", folder / "recording.npz", "--label-fraction", 0.5, "--store", path)
    assert code == 0, output
    return path


def found(store: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    out = store.parent / "found.json"
    code, output = made("threshold", "--store", store, "--json", out, *arguments)
    answer = json.loads(out.read_text())
    assert (answer["guarantee"] or answer["reason"]) in output
    return code, answer


def rows(store: Path) -> list[tuple[float, float | None]]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute("select p_correct, correct from responses where p_correct is not null").fetchall()


def test_the_threshold_keeps_the_accuracy_and_says_what_it_rests_on(store: Path) -> None:
    code, answer = found(store, "--accuracy", 0.9)
    assert code == 0
    threshold, stored = answer["threshold"], rows(store)
    kept = [correct for p, correct in stored if p >= threshold]
    labelled = [correct for correct in kept if correct is not None]
    assert 0 < threshold < 1
    assert answer["n_responses"] == len(stored)
    assert answer["share_kept"] == pytest.approx(len(kept) / len(stored))
    assert answer["n_labels_kept"] == len(labelled)
    assert answer["accuracy_labelled"] == pytest.approx(np.mean(labelled))
    assert answer["accuracy_labelled"] > 0.9
    assert "random sample" in answer["guarantee"]


def test_a_higher_accuracy_keeps_fewer_responses(store: Path) -> None:
    shares = [found(store, "--accuracy", wanted)[1]["share_kept"] for wanted in (0.6, 0.8, 0.85)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1.0


def test_a_domain_and_a_start_select_the_responses(store: Path) -> None:
    _, everything = found(store, "--accuracy", 0.8)
    _, law = found(store, "--accuracy", 0.8, "--domain", "law")
    _, late = found(store, "--accuracy", 0.8, "--since", "2026-01-01T00:08:20Z")
    assert 0.4 < law["n_responses"] / everything["n_responses"] < 0.6
    assert 0 < late["n_responses"] <= 500


def test_unequal_inclusion_probabilities_are_named_in_the_guarantee(store: Path) -> None:
    _, even = found(store, "--accuracy", 0.8)
    code, designed = found(store, "--accuracy", 0.8, "--inclusion-floor", 0.4)
    assert code == 0
    assert designed["share_kept"] <= even["share_kept"]
    assert "none below 0.4" in designed["guarantee"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--accuracy", 0.999), "too few labels"),
        (("--accuracy", 0.9, "--domain", "nowhere"), "0 labelled responses have a p_correct"),
        (("--accuracy", 0.9, "--since", "2030-01-01"), "0 labelled responses have a p_correct"),
    ],
)
def test_without_a_threshold_the_reason_is_given_and_the_exit_code_is_1(
    store: Path, arguments: tuple[object, ...], reason: str
) -> None:
    code, answer = found(store, *arguments)
    assert (code, answer["threshold"], answer["share_kept"]) == (1, None, None)
    assert reason in answer["reason"]


def copy_with(store: Path, folder: Path, statement: str) -> Path:
    """A copy of the store, changed by an SQL statement."""
    file = folder / "copy.db"
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
        copy.execute(statement)
        copy.commit()
    return file


def test_an_accuracy_that_the_labels_contradict_is_out_of_reach(store: Path, tmp_path: Path) -> None:
    changed = copy_with(store, tmp_path, "update responses set correct = (seq % 2) where correct is not null")
    code, answer = found(changed, "--accuracy", 0.8)
    assert code == 1
    assert answer["reason"].startswith("accuracy 0.8 is out of reach")


def test_labels_that_do_not_count_in_estimates_do_not_count_here(store: Path, tmp_path: Path) -> None:
    changed = copy_with(store, tmp_path, "update responses set weight = 0 where correct = 0")
    _, answer = found(changed, "--accuracy", 0.8)
    assert answer["n_labels"] == sum(correct == 1 for _, correct in rows(store))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--accuracy", 1.5), 2, "--accuracy"),
        (("--accuracy", 0.9, "--confidence", 0.2), 2, "--confidence"),
        ((), 2, "--accuracy"),
    ],
)
def test_a_wrong_option_is_refused(store: Path, arguments: tuple[object, ...], code: int, message: str) -> None:
    ended, output = made("threshold", "--store", store, *arguments)
    assert ended == code
    assert message in output
