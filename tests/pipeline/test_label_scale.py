"""A topic whose labels leave the scale is refused as a whole: its lowest scores are not read as full truth."""

from __future__ import annotations

from typing import Final

import numpy as np

from driftgauge.models.events import Event, Rejected, Tick
from driftgauge.models.outputs import Alert, Output
from driftgauge.models.topic_scale import RECENT
from tests.copying import replace
from tests.pipeline.stepping import SETTINGS, T0, Agent, label, rejected, response, responses

OUT_OF_SCALE: Final = "labels_out_of_scale"


def many(n: int = 150) -> list[Event]:
    """Responses with two of each of which one is labelled, and none of which closes a window."""
    return [response(i, T0 + i / 10) for i in range(n)]


def scored(i: int, correct: float, topic: str = "scores") -> Event:
    return label(f"l{i}", i, correct, topic=topic)


def decoded(topic: str = "scores") -> Rejected:
    """What the decoder makes of a label that it cannot bring to [0, 1]."""
    return Rejected(OUT_OF_SCALE, "correct is no number", topic, 0, 7, value=b"{}")


def alerts(outputs: list[Output]) -> list[Alert]:
    return [output for output in outputs if isinstance(output, Alert) and output.kind == OUT_OF_SCALE]


def test_of_scores_from_1_to_5_none_is_used() -> None:
    agent = Agent()
    said = agent.take(*many(40), *(scored(i, float(i % 5 + 1)) for i in range(40)), Tick(T0 + 121))
    assert rejected(said) == [OUT_OF_SCALE] * 40
    assert agent.window(T0 + 60).n_labels == 0
    (alert,) = alerts(said)
    assert "labels.scale" in alert.message
    assert "scores" in alert.message


def test_labels_accepted_before_are_withdrawn_and_kept_as_dead_letters() -> None:
    agent = Agent()
    said = agent.take(*many(40), *(scored(i, 1.0) for i in range(30)), scored(70, 0.0), Tick(T0 + 60))
    assert rejected(said) == []
    assert agent.window(T0 + 60).accuracy_labelled == 1.0
    said = agent.take(scored(31, 4.0), scored(32, 2.0), Tick(T0 + 180), Tick(T0 + 300))
    letters = [output for output in said if isinstance(output, Rejected)]
    assert len(letters) == 33
    assert {letter.topic for letter in letters} == {"scores"}
    assert all(np.isnan(agent.row(f"r{i}").correct) for i in range(40))
    assert agent.row("r0").label_kind == "withdrawn"
    assert agent.state.n_pending == 0
    assert agent.window(T0 + 60).n_labels == 0


def test_a_withdrawn_label_leaves_the_labels_of_other_topics() -> None:
    agent = Agent()
    agent.take(*many(), *(scored(i, 1.0) for i in range(25)), label("p", 3, 0.0, at=T0 + 20, topic="people"))
    agent.take(scored(30, 4.0), scored(31, 4.0))
    assert agent.row("r3").correct == 0.0
    assert agent.row("r4").label_kind == "withdrawn"


def test_one_mistake_among_many_labels_refuses_no_topic() -> None:
    agent = Agent()
    said = agent.take(*many(), *(scored(i, float(i % 2)) for i in range(50)), scored(60, 7.0), scored(61, 1.0))
    assert rejected(said) == [OUT_OF_SCALE]
    assert agent.row("r61").correct == 1.0
    assert agent.row("r1").correct == 1.0


def test_scores_of_minus_one_and_one_are_refused_even_if_most_are_one() -> None:
    agent = Agent()
    said = agent.take(*many(), *(scored(i, -1.0 if i % 30 == 29 else 1.0) for i in range(100)))
    assert rejected(said).count(OUT_OF_SCALE) == 100
    assert len(alerts(said)) == 1


def test_a_topic_that_keeps_to_the_scale_again_is_accepted_after_a_while() -> None:
    agent = Agent()
    agent.take(*many(), scored(0, 3.0), *(scored(1, 1.0) for _ in range(RECENT - 1)), scored(2, 0.0))
    assert np.isnan(agent.row("r1").correct)
    assert agent.row("r2").correct == 0.0


def test_each_topic_is_judged_alone() -> None:
    agent = Agent()
    agent.take(*responses(4), scored(0, 3.0), scored(1, 1.0), label("p", 1, 0.0, topic="people"))
    assert agent.row("r1").correct == 0.0


def test_labels_that_the_decoder_refused_count_against_their_topic() -> None:
    agent = Agent()
    said = agent.take(*many(), *(scored(i, 1.0) for i in range(30)), decoded(), decoded("elsewhere"), decoded())
    assert rejected(said) == [OUT_OF_SCALE] * 33
    assert agent.row("r1").label_kind == "withdrawn"


def test_a_withdrawal_is_taken_from_a_refused_topic() -> None:
    agent = Agent()
    agent.take(*responses(4), label("p", 1, 1.0, topic="people"), scored(0, 3.0))
    agent.take(label("w", 1, None, at=T0 + 50, supersedes="p", topic="scores"))
    assert agent.row("r1").label_kind == "withdrawn"


def test_the_judgement_outlives_a_restart_and_starts_again_with_another_scale() -> None:
    agent = Agent()
    agent.take(*responses(4), scored(0, 3.0))
    agent.restart()
    assert rejected(agent.take(scored(1, 1.0))) == [OUT_OF_SCALE]
    agent.restart(replace(SETTINGS, label_scale="1 to 5"))
    assert rejected(agent.take(scored(1, 1.0))) == []
    assert agent.row("r1").correct == 1.0
