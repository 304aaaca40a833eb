"""The pieces of the live demo that need no model: its questions, its checks, its late labels, and the truth."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from driftgauge.agent.demo.live import LABEL_DELAY, SHARE, Answer, Answers, LateLabels
from driftgauge.agent.demo.questions import EXAMPLES, KINDS, LEVELS, Level, Question, is_right, make_questions
from driftgauge.models.outputs import Estimate

N = 200
ADD = Question("add", "What is 2 + 3?", "5")


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - no secrets


@pytest.mark.parametrize("level", LEVELS)
def test_the_seed_determines_questions_of_every_kind(level: Level) -> None:
    questions = make_questions(level, N, seeded(7))
    assert questions == make_questions(level, N, seeded(7))
    assert questions != make_questions(level, N, seeded(8))
    assert {kind: sum(q.domain == kind for q in questions) for kind in KINDS[level]} == dict.fromkeys(KINDS[level], N)


@pytest.mark.parametrize("level", LEVELS)
def test_a_right_answer_is_right_and_the_question_alone_is_not(level: Level) -> None:
    for question in make_questions(level, N, seeded(0)):
        assert is_right(question, f"It is {question.answer}.")
        assert not is_right(question, "")
        if not question.answer.isdigit():
            assert not is_right(question, question.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 = 5", True),
        ("2 + 3 = 5.", True),
        ("2 + 3 = 5.0", True),
        ("2 + 3 = 15", False),
        ("5 = 2 + 3", False),
        ("five", False),
    ],
)
def test_the_last_number_of_an_answer_counts(text: str, expected: bool) -> None:
    assert is_right(ADD, text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Today I go, yesterday I went.", True), ("WENT", True), ("Today I go, yesterday I wented.", False)],
)
def test_the_right_word_must_be_in_an_answer(text: str, expected: bool) -> None:
    assert is_right(Question("past", 'What is the past tense of "go"?', "went"), text) is expected


def test_thousands_may_be_separated() -> None:
    assert is_right(Question("unit", "Convert 3 liters to milliliters.", "3000"), "3 liters = 3,000 milliliters")


def test_every_kind_has_a_solved_example() -> None:
    kinds = {kind for level in LEVELS for kind in KINDS[level]}
    assert set(EXAMPLES) == kinds
    assert kinds - set(KINDS["easy"]) == {"plural"}  # new with the harder questions


def answer(number: int, domain: str = "add", *, is_right: bool = True) -> Answer:
    return Answer(replace(ADD, domain=domain), f"r-{number}", float(number), is_right)


def test_labels_come_late_for_a_part_of_the_answers() -> None:
    sent: list[dict[str, Any]] = []
    late, n = LateLabels(sent.extend, seeded(0)), 4 * LABEL_DELAY
    for number in range(n):
        late.answered(answer(number, is_right=number % 2 == 0))
        assert all(int(label["response_id"][2:]) <= number - LABEL_DELAY for label in sent)
    assert 0 < late.n_sent == len(sent) < n - LABEL_DELAY
    late.send_all()
    late.send_all()
    numbers = [int(label["response_id"][2:]) for label in sent]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == late.n_sent == pytest.approx(SHARE * n, abs=4 * (n * SHARE * (1 - SHARE)) ** 0.5)
    assert all(label["correct"] is (number % 2 == 0) for number, label in zip(numbers, sent, strict=True))
    assert {label["inclusion_probability"] for label in sent} == {SHARE}


def test_one_domain_gets_few_labels_and_one_gets_none() -> None:
    sent: list[dict[str, Any]] = []
    late = LateLabels(sent.extend, seeded(0))
    for number in range(N):
        for domain in KINDS["harder"]:
            late.answered(answer(number, domain))
    late.send_all()
    assert {label["inclusion_probability"] for label in sent} == {0.1, SHARE}
    assert late.n_sent == pytest.approx(N * (4 * SHARE + 0.1), rel=0.2)


def test_the_truth_is_the_share_of_right_answers_in_the_window() -> None:
    answers = Answers()
    for number in reversed(range(10)):  # answers of a domain may end in any order
        answers.add(answer(number, is_right=number in (4, 6)))
    answers.add(answer(5, "mul", is_right=True))
    estimate = Estimate(
        domain="add", fingerprint="f", model="m", window_start=4.0, window_end=8.0, watermark=8.0, revision=1,
        status="ok", status_reason=None, accuracy=0.9, ci_low=0.8, ci_high=1.0, confidence_level=0.9, estimator="mean",
        n_events=4, n_labels=0, effective_sample_size=0.0, accuracy_labelled=None, classifier_version=1,
    )  # fmt: skip
    assert len(answers) == 11
    assert answers.truth(estimate, 100) == 2 / 4
    assert answers.truth(estimate, 3) == 1 / 3
    assert answers.truth(replace(estimate, domain="past"), 100) is None
