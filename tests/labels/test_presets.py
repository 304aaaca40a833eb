"""Each preset reads the records of its tool: which labels there are, whose, with which ids, and what is refused."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.connectors.labels.mapping import Refusal
from driftgauge.connectors.labels.presets import PRESETS
from driftgauge.connectors.labels.reading import read_documents
from driftgauge.models.events import Label
from driftgauge.models.labels import resolve

FIXTURES = Path(__file__).parent / "fixtures"
FILES = sorted(path for path in FIXTURES.iterdir())


def preset_of(path: Path) -> str:
    return path.stem.partition("_")[0]


def found_in(name: str) -> list[Label | Refusal]:
    mapping = PRESETS[preset_of(FIXTURES / name)]
    return [one for document in read_documents(str(FIXTURES / name)) for one in mapping.read(document.content)]


def labels_in(name: str) -> list[Label]:
    return [one for one in found_in(name) if isinstance(one, Label)]


def refused_in(name: str) -> Counter[str]:
    return Counter(one.reason for one in found_in(name) if isinstance(one, Refusal))


def short(labels: list[Label]) -> list[tuple[str, str, float | None, str, str]]:
    return [(x.label_id, x.response_id, x.correct, x.annotator_kind, x.annotator_id) for x in labels]


def sources_in(name: str) -> list[str]:
    mapping = PRESETS[preset_of(FIXTURES / name)]
    documents = (one for read in read_documents(str(FIXTURES / name)) for one in mapping.documents(read.content))
    return [one.get("source", "") for one in documents if not isinstance(one, Refusal)]


def test_every_preset_has_a_fixture() -> None:
    assert {preset_of(path) for path in FILES} == set(PRESETS)


def test_label_studio_each_annotator_gives_a_label_and_a_skipped_task_withdraws() -> None:
    name = "label-studio_export.json"
    assert short(labels_in(name)) == [
        ("label-studio/4", "r-17", 1.0, "human", "1"),
        ("label-studio/5", "r-17", 0.0, "human", "2"),
        ("label-studio/6", "r-18", 0.0, "human", "1"),
        ("label-studio/7", "r-18", None, "human", "2"),
    ]
    assert refused_in(name) == {"other_name": 1, "labels_out_of_scale": 1, "no_value": 1}
    assert [label.inclusion_probability for label in labels_in(name)] == [0.05, 0.05, None, None]


def test_label_studio_a_confirmed_suggestion_is_marked() -> None:
    assert sources_in("label-studio_export.json") == ["", "", "confirmed_suggestion", "", ""]


def test_label_studio_the_short_export_has_the_ids_of_the_long_one() -> None:
    short_ids = {label.label_id for label in labels_in("label-studio_min.json")}
    assert short_ids == {"label-studio/4", "label-studio/6"}
    assert short_ids < {label.label_id for label in labels_in("label-studio_export.json")}


def test_label_studio_a_changed_annotation_corrects_its_label() -> None:
    labels = labels_in("label-studio_webhooks.jsonl")
    assert [(label.label_id, label.correct) for label in labels] == [
        ("label-studio/4", 0.0),
        ("label-studio/4", 1.0),
        ("label-studio/10", None),
    ]
    truth = resolve(labels)
    assert truth is not None
    assert truth.correct == 1.0


def test_label_studio_a_deletion_names_no_response() -> None:
    assert refused_in("label-studio_webhooks.jsonl") == {"skipped": 2, "no_response_id": 1}


def verdicts(preset: str, record: Mapping[str, Any]) -> list[float | str | None]:
    """What a record says: the truth, None for a withdrawal, or the reason why it gives no label."""
    return [one.reason if isinstance(one, Refusal) else one.correct for one in PRESETS[preset].read(record)]


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (["wrong"], [0.0]),
        (["correct", "Good"], [1.0]),
        (["correct", "wrong"], ["ambiguous_value", None]),
        (["wrong", "impolite"], ["ambiguous_value", None]),
        ([], ["no_value"]),
    ],
)
def test_several_choices_are_a_label_where_they_say_the_same(
    choices: list[str], expected: list[float | str | None]
) -> None:
    at = "2026-01-26T09:00:00Z"
    result = {"from_name": "correct", "type": "choices", "value": {"choices": choices}}
    task = {"data": {"response_id": "r"}, "annotations": [{"id": 4, "result": [result], "updated_at": at}]}
    short_task = {"response_id": "r", "annotation_id": 4, "correct": {"choices": choices}, "updated_at": at}
    answered = {"id": "a", "values": {"correct": {"value": choices}}, "status": "submitted", "updated_at": at}
    assert verdicts("label-studio", task) == expected
    assert verdicts("label-studio", short_task) == expected
    assert verdicts("argilla", {"external_id": "r", "responses": [answered]}) == expected


def test_argilla_drafts_are_no_labels_and_a_discarded_response_withdraws() -> None:
    assert short(labels_in("argilla.json")) == [
        ("argilla/7d0e-1", "r-17", 0.0, "human", "u-1"),
        ("argilla/7d0e-2", "r-17", 0.0, "human", "u-2"),
        ("argilla/7d0e-4", "r-18", None, "human", "u-1"),
    ]
    assert refused_in("argilla.json") == {"skipped": 1, "no_value": 1}


def test_argilla_a_deleted_response_leaves_no_truth_in_whatever_order_webhooks_come() -> None:
    labels = labels_in("argilla_webhooks.jsonl")
    assert [label.correct for label in labels] == [0.0, 1.0, None]
    assert resolve(labels[:2]) is not None
    assert all(resolve(order) is None for order in itertools.permutations(labels))


def test_langfuse_people_and_judges_stay_apart() -> None:
    assert short(labels_in("langfuse.json")) == [
        ("langfuse/s-1", "t-1", 1.0, "human", "u-1"),
        ("langfuse/s-2", "t-1", 0.0, "model", "correct"),
        ("langfuse/s-3", "o-9", 0.0, "human", "u-1"),
        ("langfuse/s-4/correctness", "t-3", 0.75, "human", "correctness"),
        ("langfuse/s-7", "t-7", 1.0, "human", "correct"),
    ]
    assert refused_in("langfuse.json") == {"other_name": 1, "skipped": 1}
    assert sources_in("langfuse.json") == ["", "judge", "", "", ""]


def test_langfuse_files_of_a_bucket_have_the_labels_of_the_interface() -> None:
    assert set(labels_in("langfuse_bucket.jsonl")) == set(labels_in("langfuse.json")[:2])


def test_langsmith() -> None:
    assert short(labels_in("langsmith.json")) == [
        ("langsmith/f-1/correctness", "018f-1", 1.0, "human", "correctness"),
        ("langsmith/f-2/correctness", "018f-1", 0.0, "model", "correctness"),
        ("langsmith/f-4/correctness", "018f-1", 1.0, "human", "correctness"),
    ]
    assert refused_in("langsmith.json") == {"other_name": 1, "labels_out_of_scale": 1}


def test_phoenix() -> None:
    assert [(x.correct, x.annotator_kind, x.annotator_id) for x in labels_in("phoenix.json")] == [
        (1.0, "human", "u-1"),
        (1.0, "model", "judge-a"),
        (0.0, "code", "correctness"),
    ]
    assert {label.response_id for label in labels_in("phoenix.json")} == {"a1b2c3d4e5f60718"}


def test_mlflow_replaced_assessments_and_expectations_are_no_labels() -> None:
    assert [(x.response_id, x.correct, x.annotator_kind, x.annotator_id) for x in labels_in("mlflow.json")] == [
        ("tr-1", 1.0, "human", "ann"),
        ("tr-1", 0.0, "model", "judge-b"),
        ("sp-1", 1.0, "code", "checks"),
    ]
    assert refused_in("mlflow.json") == {"skipped": 1, "no_value": 1}


def test_openai_evals_each_grader_is_an_annotator() -> None:
    assert short(labels_in("openai-evals.json")) == [
        ("openai-evals/oi-1/exact-3f", "r-17", 0.0, "code", "exact-3f"),
        ("openai-evals/oi-1/judge-9a", "r-17", 1.0, "model", "judge-9a"),
    ]
    assert sources_in("openai-evals.json") == ["test", "judge"]
    assert refused_in("openai-evals.json") == {"no_response_id": 1}


def test_otel_the_response_id_goes_before_the_span() -> None:
    assert [(x.response_id, x.correct, x.annotator_kind) for x in labels_in("otel.json")] == [
        ("r-17", 1.0, "model"),
        ("eee19b7ec3c1b174", 0.25, "model"),
    ]
    assert {x.event_time for x in labels_in("otel.json")} == {1769418005.0}


def test_csv_numbers_are_ids_and_each_bad_row_has_a_reason() -> None:
    assert short(labels_in("csv.csv")) == [
        ("l-1", "r-17", 1.0, "human", "reviewer-3"),
        ("l-2", "18", 0.25, "human", "reviewer-3"),
        ("r-19/code/tests", "r-19", 0.0, "code", "tests"),
    ]
    assert refused_in("csv.csv") == {
        "no_response_id": 1, "invalid_time": 1, "labels_out_of_scale": 1, "invalid_value": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given_time", "detail"),
    [
        ("26.01.2026 09:00", "26.01.2026 09:00, write it as 2026-01-26T09:00:00Z"),
        ("", "no value at its path"),
    ],
)
def test_a_time_that_cannot_be_read_is_shown(given_time: str, detail: str) -> None:
    [refusal] = PRESETS["csv"].read({"response_id": "r", "correct": "yes", "event_time": given_time})
    assert refusal == Refusal("invalid_time", f"no time between the years 2000 and 2100: {detail}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@given(order=st.randoms(use_true_random=False))
def test_documents_in_any_order_and_twice_give_the_same_labels(path: Path, order: random.Random) -> None:
    mapping = PRESETS[preset_of(path)]
    documents = [read.content for read in read_documents(str(path))]
    again = [*documents, *documents]
    order.shuffle(again)
    once = {one for document in documents for one in mapping.read(document) if isinstance(one, Label)}
    assert {one for document in again for one in mapping.read(document) if isinstance(one, Label)} == once


KEYS = ("id", "data", "items", "annotations", "annotation", "result", "responses", "attributes", "key", "value")
LEAVES = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text()
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner))


@given(DOCUMENTS)
def test_whatever_a_document_holds_it_gives_labels_or_refusals(document: object) -> None:
    for mapping in PRESETS.values():
        assert all(isinstance(one, Label | Refusal) for one in mapping.read(document))
