"""Scores of labels as people have them: truth values, numbers and words, on the scale that is configured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from driftgauge.config.load import ConfigError, load_settings
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import Encoding, encode_label
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.models.events import Event, Label, Rejected

LABEL = {"type": "label", "label_id": "l", "response_id": "r", "event_time": 60.0}
STARS, WORDS = (1.0, 5.0), {"Good": 1.0, "so-so": 0.5, "bad": 0.0, "3": 0.25}


def decoded(*scores: object, scale: tuple[float, float] | Mapping[str, float] = (0.0, 1.0)) -> list[Event]:
    lines = b"\n".join(json.dumps({**LABEL, "correct": score}).encode() for score in scores)
    record = Record("scores", 2, 7, None, lines, timestamp=90.0)
    return Decoder(label_scale=LabelScale(scale)).decode([record])


@pytest.mark.parametrize(
    ("scale", "score", "correct"),
    [
        ((0.0, 1.0), True, 1.0),
        ((0.0, 1.0), 0.25, 0.25),
        ((0.0, 1.0), "true", 1.0),
        ((0.0, 1.0), " False ", 0.0),
        ((0.0, 1.0), "YES", 1.0),
        ((0.0, 1.0), "no", 0.0),
        ((0.0, 1.0), "1", 1.0),
        ((0.0, 1.0), "0.5", 0.5),
        ((0.0, 1.0), "Y", 1.0),
        ((0.0, 1.0), "f", 0.0),
        ((0.0, 1.0), "85%", 0.85),
        ((6.0, 1.0), "100 %", 1.0),
        (STARS, 1, 0.0),
        (STARS, 4, 0.75),
        (STARS, "5", 1.0),
        (STARS, True, 1.0),
        (STARS, "false", 0.0),
        ((0.0, 100.0), 87.5, 0.875),
        ((-1.0, 1.0), -1, 0.0),
        ((-1.0, 1.0), "+1", 1.0),
        ((6.0, 1.0), 2, 0.8),
        (WORDS, "good", 1.0),
        (WORDS, " SO-SO", 0.5),
        (WORDS, 3, 0.25),
        (WORDS, 3.0, 0.25),
        (WORDS, "3", 0.25),
        (WORDS, False, 0.0),
        ({"true": 0.0, "false": 1.0}, True, 0.0),
    ],
)
def test_a_score_is_read_on_its_scale(
    scale: tuple[float, float] | dict[str, float], score: object, correct: float
) -> None:
    (label,) = decoded(score, scale=scale)
    assert isinstance(label, Label)
    assert label.correct == pytest.approx(correct)


@pytest.mark.parametrize(
    ("scale", "score"),
    [
        ((0.0, 1.0), 1.5),
        ((0.0, 1.0), -1),
        ((0.0, 1.0), "good"),
        ((0.0, 1.0), ""),
        ((0.0, 1.0), "nan"),
        ((0.0, 1.0), "inf"),
        (STARS, 0),
        (STARS, 6),
        ((6.0, 1.0), 0.5),
        (WORDS, "yes"),
        (WORDS, "fine"),
        (WORDS, 1),
    ],
)
def test_a_score_that_leaves_the_scale_is_a_dead_letter_with_its_bytes_and_the_setting(
    scale: tuple[float, float] | dict[str, float], score: object
) -> None:
    (letter,) = decoded(score, scale=scale)
    assert isinstance(letter, Rejected)
    assert (letter.reason, letter.topic, letter.offset) == ("labels_out_of_scale", "scores", 7)
    assert "labels.scale" in letter.detail
    assert letter.value


@pytest.mark.parametrize("scale", [STARS, WORDS, (0.0, 100.0)])
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_label_that_is_sent_again_is_on_the_scale_of_the_agent_whatever_is_configured(
    scale: tuple[float, float] | dict[str, float], encoding: Encoding
) -> None:
    label = Label("l", "r", 60.0, 0.75)
    record = Record("scores", 0, 0, None, encode_label(label, encoding))
    assert Decoder(label_scale=LabelScale(scale), encoding=encoding).decode([record]) == [label]


def test_a_label_may_carry_a_scale_of_its_own() -> None:
    lines = json.dumps({**LABEL, "correct": 4, "scale": [1, 5]}).encode()
    (label,) = Decoder().decode([Record("t", 0, 0, None, lines)])
    assert isinstance(label, Label)
    assert label.correct == 0.75
    (letter,) = Decoder().decode([Record("t", 0, 0, None, lines.replace(b"[1, 5]", b"[1, 1]"))])
    assert isinstance(letter, Rejected)
    assert letter.reason == "invalid_value"


def test_labels_that_share_a_record_share_the_scale() -> None:
    (letter,) = decoded(1, 0, 4, 1)
    assert isinstance(letter, Rejected)
    assert letter.reason == "labels_out_of_scale"


def test_a_label_knows_its_topic_and_the_time_of_its_record() -> None:
    (label,) = decoded(1)
    assert isinstance(label, Label)
    assert (label.topic, label.broker_time) == ("scores", 90.0)


@pytest.mark.parametrize(
    ("written", "scale"),
    [
        ([1, 5], (1.0, 5.0)),
        ("1,5", (1.0, 5.0)),
        ("[-1, 1]", (-1.0, 1.0)),
        ({"good": 1, "bad": 0}, {"good": 1.0, "bad": 0.0}),
        ("{good: 1, bad: 0.25}", {"good": 1.0, "bad": 0.25}),
        ({1: 0, 2: 1}, {"1": 0.0, "2": 1.0}),
    ],
)
def test_the_scale_is_configured_as_two_numbers_or_as_words(written: object, scale: Any) -> None:
    assert load_settings(overrides={"labels.scale": written}).labels.scale == scale


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([1], "two numbers"),
        ([1, 2, 3], "two numbers"),
        ("often", "two numbers"),
        (5, "two numbers"),
        ([3, 3], "different"),
        (["0", "inf"], "different"),
        ({}, "value in [0, 1]"),
        ({"good": 2}, "value in [0, 1]"),
        ({"good": "much"}, "value in [0, 1]"),
        ({True: 1, False: 0}, "in quotes"),
    ],
)
def test_a_scale_that_is_none_is_refused_at_the_start(written: object, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_settings(overrides={"labels.scale": written})
    assert "labels.scale" in str(refusal.value)
    assert message in str(refusal.value)
