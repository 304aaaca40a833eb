"""A mapping from the settings, alone and on top of a preset; ids, names and the paths of lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driftgauge.agent.service import build_decoding
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.labels.mapping import LabelMapping, Refusal
from driftgauge.models.events import Label

OWN = """
labels:
  mapping:
    prefix: desk/
    records: [page.tickets.*]
    each: [verdicts.*]
    fields:
      response_id: answer.id
      label_id: verdicts.*.key
      correct: {paths: [verdicts.*.stars], values: {"none": "1"}}
      event_time: verdicts.*.at
      annotator_kind: {paths: [verdicts.*.by.kind], values: {bot: model}}
      annotator_id: [verdicts.*.by.name, verdicts.*.by.id]
      inclusion_probability: drawn
      source: channel
      name: verdicts.*.about
    scale: [1, 5]
    names: [truth]
    skip: {verdicts.*.state: [open]}
    withdraw: {verdicts.*.state: [removed]}
    defaults: {annotator_kind: human}
"""


def mapping_of(text: str, folder: Path) -> LabelMapping:
    (folder / "driftgauge.yaml").write_text(text)
    return build_decoding.label_mapping(load_settings(folder / "driftgauge.yaml"))


def verdict(**fields: Any) -> dict[str, Any]:
    return {"key": 7, "stars": 4, "at": 1769418000, "by": {"kind": "human", "id": 12}, "about": "truth", **fields}


def test_each_setting_of_a_mapping_has_its_effect(tmp_path: Path) -> None:
    mapping = mapping_of(OWN, tmp_path)
    verdicts = [
        verdict(),
        verdict(key=8, by={"kind": "bot", "name": "judge-a"}, stars="none"),
        verdict(key=9, state="open"),
        verdict(key=10, state="removed", by={}),
        verdict(key=11, about="tone"),
    ]
    ticket = {"answer": {"id": 17}, "drawn": "0.25", "channel": "complaint", "verdicts": verdicts}
    *labels, other_name = (x for x in mapping.read({"page": {"tickets": [ticket]}}) if x != SKIPPED)
    at = 1769418000.0
    shared: dict[str, Any] = {
        "response_id": "17", "event_time": at, "inclusion_probability": 0.25, "source": "complaint"
    }  # fmt: skip
    expected = [
        Label("desk/7", correct=0.75, annotator_id="12", **shared),
        Label("desk/8", correct=0.0, annotator_kind="model", annotator_id="judge-a", **shared),
        Label("desk/10", correct=None, supersedes="desk/10", **shared),
    ]
    assert labels == expected
    assert isinstance(other_name, Refusal)
    assert other_name.reason == "other_name"


SKIPPED = Refusal("skipped", "the tool marks it as no label, or as a draft")


def test_settings_go_before_those_of_the_preset(tmp_path: Path) -> None:
    text = "labels: {mapping: {preset: langsmith, names: [thumbs], fields: {response_id: extra.request}}}"
    mapping = mapping_of(text, tmp_path)
    record = {"id": "f-1", "run_id": "x", "key": "thumbs", "score": 1, "extra": {"request": "r-1"}}
    [label] = mapping.read({**record, "modified_at": "2026-01-26T09:00:00Z", "feedback_source": {"type": "app"}})
    assert isinstance(label, Label)
    assert (label.label_id, label.response_id, label.correct) == ("langsmith/f-1", "r-1", 1.0)


def test_the_scale_of_the_settings_holds_where_the_mapping_has_none(tmp_path: Path) -> None:
    text = "labels: {mapping: {fields: {response_id: id, correct: stars, event_time: at}}}"
    [label] = mapping_of(text, tmp_path).read({"id": 1, "stars": 2, "at": 1769418000}, LabelScale((1, 5)))
    assert isinstance(label, Label)
    assert label.correct == 0.25


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("labels: {mapping: {preset: langfuze}}", "labels.mapping.preset must be one of label-studio, argilla"),
        ("labels: {mapping: {fields: {truth: x}}}", "labels.mapping.fields has truth, which no label has"),
        ("labels: {mapping: {fields: {correct: x}}}", "labels.mapping.fields has no path for response_id, event_time"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match=problem):
        mapping_of(text, tmp_path)


def test_a_response_id_is_left_as_it_is(tmp_path: Path) -> None:
    mapping = mapping_of("labels: {mapping: {fields: {response_id: id, correct: ok, event_time: at}}}", tmp_path)
    name = " r\u0065\u0301 " * 80
    [label] = mapping.read({"id": name, "ok": True, "at": 1769418000})
    assert isinstance(label, Label)
    assert label.response_id == name
    [refused] = mapping.read({"id": "r" * 510, "ok": True, "at": 1769418000})  # too long for the label id made of it
    assert isinstance(refused, Refusal)
    assert refused.reason == "invalid_value"
