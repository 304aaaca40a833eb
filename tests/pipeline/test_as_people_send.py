"""Whole replays of what real senders send: ids that repeat, labels that are corrected, and scores on many scales."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from driftgauge.agent.service.replay import replay_files
from driftgauge.config.load import load_settings
from driftgauge.connectors.files.traffic import LabelPlan
from driftgauge.connectors.store.queries import StoreQueries, open_queries
from driftgauge.models.events import Rejected

START = 1_788_000_000


class Replayed:
    """What a replay of these lines prints, returns and stores."""

    def __init__(self, folder: Path, lines: Sequence[dict[str, Any]], **overrides: object) -> None:
        path = folder / "log.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.url = f"sqlite:///{folder / 'store.db'}"
        printed = io.StringIO()
        settings = load_settings(overrides={name.replace("__", "."): value for name, value in overrides.items()})
        self.result = replay_files([path], LabelPlan(), settings, Console(file=printed), store_url=self.url)
        self.printed = printed.getvalue()

    def queries(self) -> StoreQueries:
        return open_queries(self.url)

    @property
    def n_responses(self) -> int:
        with closing(self.queries()) as queries:
            return sum(counts.n_events for counts in queries.counts(-math.inf, math.inf).values())

    @property
    def reasons(self) -> dict[str, int]:
        with closing(self.queries()) as queries:
            reasons = [letter.reason for letter in queries.newest(Rejected, 10_000)]
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}

    @property
    def alerts(self) -> list[str]:
        with closing(self.queries()) as queries:
            return [alert.kind for alert in queries.alerts(-math.inf, math.inf)]

    @property
    def estimate(self) -> dict[str, Any]:
        (estimate,) = self.result["estimates"]
        return dict(estimate)


def generation(i: int, rng: np.random.Generator) -> dict[str, Any]:
    chosen = -rng.exponential(0.3, 6)
    return {
        "type": "generation", "id": f"r-{i}", "event_time": START + 30 * i, "model": "m", "domain": "billing",
        "signal": {"chosen_logprobs": chosen.round(4).tolist()},
    }  # fmt: skip


def label(i: int, correct: object, *, at: int = 5, label_id: str = "", **more: object) -> dict[str, Any]:
    time = START + 30 * i + at
    return {
        "type": "label", "label_id": label_id or f"l-{i}", "response_id": f"r-{i}", "event_time": time,
        "correct": correct, **more,
    }  # fmt: skip


def chat(i: int, name: str, rng: np.random.Generator) -> dict[str, Any]:
    """A body of an OpenAI chat."""
    entries = [{"token": "a", "logprob": x, "top_logprobs": []} for x in (-rng.exponential(0.3, 4)).round(4).tolist()]
    choice = {"index": 0, "message": {"content": "x"}, "logprobs": {"content": entries}, "finish_reason": "stop"}
    return {
        "id": name, "object": "chat.completion", "created": START + 60 * i, "model": "m", "choices": [choice],
        "metadata": {"domain": "billing"},
    }  # fmt: skip


def test_corrected_labels_count_as_they_were_corrected(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [generation(i, rng) for i in range(120)]
    lines += [label(i, True) for i in range(40)] + [label(i, False, at=12_000) for i in range(40)]
    replayed = Replayed(tmp_path, lines)
    assert replayed.estimate["n_labels"] == 40
    assert replayed.estimate["accuracy_labelled"] == 0.0
    assert replayed.estimate["accuracy"] < 0.2
    assert replayed.reasons == {}


def test_responses_that_share_ids_are_not_lost_without_a_word(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [chat(i, f"chatcmpl-{rng.integers(60)}", rng) for i in range(100)]
    lines += lines[:10]
    replayed = Replayed(tmp_path, lines)
    n_known = len({line["id"] for line in lines})
    assert replayed.n_responses == n_known
    assert replayed.reasons["id_conflict"] >= 100 - n_known
    assert replayed.alerts.count("id_conflict") == 1
    assert "configure decode.response_id" in replayed.printed


def test_a_setting_tells_responses_that_share_ids_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [chat(i, f"chatcmpl-{rng.integers(60)}", rng) for i in range(100)]
    replayed = Replayed(tmp_path, lines + lines[:10], decode__response_id="payload.id, payload.created")
    assert replayed.n_responses == 100
    assert replayed.reasons == {}


@pytest.mark.parametrize("are_early", [False, True])
def test_labels_of_a_batch_name_responses_by_their_custom_id(tmp_path: Path, are_early: bool) -> None:
    rng = np.random.default_rng(0)
    bodies = [
        {"id": f"b{i}", "custom_id": f"ticket-{i}", "response": {"status_code": 200, "body": chat(i, f"c-{i}", rng)}}
        for i in range(60)
    ]  # fmt: skip
    labels = [label(i, i % 4 > 0, response_id=f"ticket-{i}") for i in range(40)]
    replayed = Replayed(tmp_path, labels + bodies if are_early else bodies + labels)
    assert replayed.estimate["n_labels"] == 40
    assert replayed.estimate["accuracy_labelled"] == pytest.approx(0.75)
    assert "wait" not in replayed.printed


def test_numbers_are_ids_on_both_sides(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [{**generation(i, rng), "id": i} for i in range(60)]
    lines += [label(i, True, response_id=i, label_id="") | {"label_id": i} for i in range(40)]
    assert Replayed(tmp_path, lines).estimate["n_labels"] == 40


def scored(scores: Sequence[object]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [line for i, score in enumerate(scores) for line in (generation(i, rng), label(i, score))]


STARS = np.random.default_rng(1).integers(1, 6, 200).tolist()


@pytest.mark.parametrize(
    ("scores", "scale", "mean"),
    [
        (STARS, [1, 5], (np.mean(STARS) - 1) / 4),
        ([20 * star for star in STARS], [0, 100], np.mean(STARS) / 5),
        ([1 if star > 2 else -1 for star in STARS], [-1, 1], np.mean([star > 2 for star in STARS])),
        (["good" if star > 2 else "bad" for star in STARS], {"good": 1, "bad": 0}, np.mean([s > 2 for s in STARS])),
        ([str(star > 2).lower() for star in STARS], [0, 1], np.mean([star > 2 for star in STARS])),
    ],
)
def test_scores_are_read_on_their_scale(tmp_path: Path, scores: list[object], scale: object, mean: float) -> None:
    replayed = Replayed(tmp_path, scored(scores), labels__scale=scale, windows__window_s=864_000)
    assert replayed.reasons == {}
    assert replayed.estimate["n_labels"] == 200
    assert replayed.estimate["accuracy_labelled"] == pytest.approx(mean)


@pytest.mark.parametrize(
    "scores",
    [
        STARS,
        sorted(STARS),
        [20 * star for star in STARS],
        [star - 1 for star in STARS],
        [1 if i % 40 else -1 for i in range(200)],
        ["good" if star > 2 else "bad" for star in STARS],
        [1, 1, "mostly"] * 60,
    ],
    ids=["stars", "sorted", "percent", "0 to 4", "signs", "words", "a third word"],
)
def test_without_a_scale_scores_that_leave_0_to_1_give_no_estimate_from_labels(
    tmp_path: Path, scores: list[object]
) -> None:
    replayed = Replayed(tmp_path, scored(scores))
    assert replayed.estimate["n_labels"] == 0
    assert replayed.reasons == {"labels_out_of_scale": len(scores)}
    assert replayed.alerts.count("labels_out_of_scale") == 1
    assert "configure labels.scale" in replayed.printed


def test_the_summary_tells_of_labels_that_met_no_response(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [generation(i, rng) for i in range(60)]
    lines += [label(i, True, response_id=f"R-{i}") for i in range(30)] + [label(70, True, response_id="elsewhere")]
    printed = Replayed(tmp_path, lines).printed
    assert "31 labels wait for their responses, the oldest of 2026-08-29 10:40 UTC" in printed
    assert "30: a response has this id in upper or lower case (label 'R-0', response 'r-0')" in printed
    assert "1: no response with an id like this was seen" in printed
