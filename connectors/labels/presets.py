"""Mappings for the tools in use, as data. docs/labels_from_tools.md shows each with the way to its export.

Sources: records of real servers of Label Studio 1.23 and Argilla 2.8, the answers of Phoenix 20; the documentation of
Langfuse, LangSmith, MLflow 3, OpenAI evals and the OpenTelemetry conventions for generative AI.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from driftgauge.connectors.decoding.lookup import Lookup
from driftgauge.connectors.labels.mapping import LabelMapping, paths_of

_NAMES = ("correct", "correctness")
_VERDICTS = {
    r"(?i)\s*(correct|right|pass|passed|good|thumbs[ _-]?up|👍[🏻-🏿\ufe0f]*)\s*": "true",
    r"(?i)\s*(incorrect|wrong|fail|failed|bad|thumbs[ _-]?down|👎[🏻-🏿\ufe0f]*)\s*": "false",
}
"""Words of annotation tools; true, false, yes and no are read as such anyway."""


def _at(*paths: str) -> Lookup:
    return Lookup(paths_of(*paths))


def _verdict(*paths: str) -> Lookup:
    return Lookup(paths_of(*paths), patterns=_VERDICTS)


def _word(paths: Iterable[str], words: Mapping[str, str], otherwise: str | None = None) -> Lookup:
    """A word of ours for each word of the tool; ``otherwise`` for all others, where given."""
    return Lookup(paths_of(*paths), words, {} if otherwise is None else {"(?s).*": otherwise})


def _under(places: Iterable[str], *fields: str) -> tuple[str, ...]:
    return tuple(f"{place}.{field}" if place else field for field in fields for place in places)


_RESULTS = ("annotations.*.result.*", "annotation.result.*")
_ANNOTATIONS = ("annotations.*", "annotation")

LABEL_STUDIO = LabelMapping(
    prefix="label-studio/",
    each=_RESULTS,
    fields={
        "response_id": _at("data.response_id", "task.data.response_id", "response_id"),
        "label_id": _at(*_under(_ANNOTATIONS, "id"), "annotation_id"),
        "correct": _verdict(
            *_under(_RESULTS, "value.choices", "value.rating", "value.number"), "{name}", "{name}.choices"
        ),
        "event_time": _at(*_under(_ANNOTATIONS, "updated_at"), "updated_at"),
        "annotator_id": _at(*_under(_ANNOTATIONS, "completed_by", "completed_by.id"), "annotator", "annotator.id"),
        "inclusion_probability": _at(
            "data.inclusion_probability", "task.data.inclusion_probability", "inclusion_probability"
        ),
        "source": _word(_under(_RESULTS, "origin"), {"prediction": "confirmed_suggestion"}, ""),
        "name": _at(*_under(_RESULTS, "from_name")),
    },
    names=("correct",),
    skip={"action": ("TASKS_CREATED", "TASKS_DELETED", "PROJECT_CREATED", "PROJECT_UPDATED", "PROJECT_DELETED")},
    withdraw={
        **dict.fromkeys(_under(_ANNOTATIONS, "was_cancelled"), ("true",)),
        "action": ("ANNOTATIONS_DELETED",),
    },
)

_RESPONSES = ("responses.*", "record.responses.*", "data")

ARGILLA = LabelMapping(
    prefix="argilla/",
    records=("items.*",),
    each=("responses.*", "record.responses.*"),
    fields={
        "response_id": _at("external_id", "record.external_id", "data.record.external_id"),
        "label_id": _at(*_under(_RESPONSES, "id")),
        "correct": _verdict(*_under(_RESPONSES, "values.{name}.value")),
        # a webhook's own time goes first: a deletion leaves the time of the response as it was
        "event_time": _at("timestamp", *_under(_RESPONSES, "updated_at", "inserted_at")),
        "annotator_id": _at(*_under(_RESPONSES, "user_id"), "data.user.id"),
        "inclusion_probability": _at(
            *_under(("metadata", "record.metadata", "data.record.metadata"), "inclusion_probability")
        ),
    },
    names=("correct",),
    skip={
        **dict.fromkeys(_under(_RESPONSES, "status"), ("draft",)),
        "type": tuple(
            f"{kind}.{event}"
            for kind in ("record", "dataset")
            for event in ("created", "updated", "completed", "published", "deleted")
        ),
    },
    withdraw={**dict.fromkeys(_under(_RESPONSES, "status"), ("discarded",)), "type": ("response.deleted",)},
)

LANGFUSE = LabelMapping(
    prefix="langfuse/",
    records=("data.*",),
    fields={
        "response_id": _at(
            "metadata.response_id", "observationId", "observation_id", "subject.id", "traceId", "trace_id"
        ),
        "label_id": _at("id"),
        "correct": _verdict("stringValue", "string_value", "value"),
        "event_time": _at("updatedAt", "updated_at", "timestamp", "createdAt", "created_at"),
        "annotator_kind": _word(["source"], {"API": "human", "ANNOTATION": "human", "EVAL": "model"}),
        "annotator_id": _at("authorUserId", "author_user_id", "evaluator_id", "name"),
        "inclusion_probability": _at("metadata.inclusion_probability"),
        "source": _word(["source"], {"EVAL": "judge"}, ""),
        "name": _at("name"),
    },
    names=_NAMES,
    skip=dict.fromkeys(("dataType", "data_type"), ("TEXT", "CORRECTION")),
)

LANGSMITH = LabelMapping(
    prefix="langsmith/",
    fields={
        "response_id": _at("extra.response_id", "run_id", "trace_id"),
        "label_id": _at("id"),
        "correct": _verdict("score", "value"),
        "event_time": _at("modified_at", "created_at"),
        "annotator_kind": _word(["feedback_source.type"], {"api": "human", "app": "human"}),
        "annotator_id": _at("feedback_source.user_id", "feedback_source.metadata.user_id", "key"),
        "inclusion_probability": _at("extra.inclusion_probability"),
        "source": _word(["feedback_source.type"], {"model": "judge"}, ""),
        "name": _at("key"),
    },
    names=_NAMES,
)

PHOENIX = LabelMapping(
    prefix="phoenix/",
    records=("data.*",),
    fields={
        "response_id": _at("metadata.response_id", "span_id"),
        "label_id": _at("id"),
        "correct": _verdict("result.score", "result.label"),
        "event_time": _at("updated_at", "created_at"),
        "annotator_kind": _word(["annotator_kind"], {"HUMAN": "human", "LLM": "model", "CODE": "code"}),
        "annotator_id": _at("user_id", "identifier", "name"),
        "inclusion_probability": _at("metadata.inclusion_probability"),
        "source": _word(["annotator_kind"], {"LLM": "judge"}, ""),
        "name": _at("name"),
    },
    names=_NAMES,
)

_ASSESSMENTS = ("info.assessments.*", "assessments.*", "")

MLFLOW = LabelMapping(
    prefix="mlflow/",
    records=("traces.*",),
    each=_ASSESSMENTS[:2],
    fields={
        "response_id": _at(*_under(_ASSESSMENTS, "metadata.response_id", "span_id", "trace_id"), "info.trace_id"),
        "label_id": _at(*_under(_ASSESSMENTS, "assessment_id")),
        "correct": _verdict(*_under(_ASSESSMENTS, "feedback.value")),
        "event_time": _at(
            *_under(_ASSESSMENTS, "last_update_time", "last_update_time_ms", "create_time", "create_time_ms")
        ),
        "annotator_kind": _word(
            _under(_ASSESSMENTS, "source.source_type"),
            {"HUMAN": "human", "LLM_JUDGE": "model", "AI_JUDGE": "model", "CODE": "code"},
        ),
        "annotator_id": _at(*_under(_ASSESSMENTS, "source.source_id")),
        "inclusion_probability": _at(*_under(_ASSESSMENTS, "metadata.inclusion_probability")),
        "source": _word(_under(_ASSESSMENTS, "source.source_type"), {"LLM_JUDGE": "judge", "AI_JUDGE": "judge"}, ""),
        "name": _at(*_under(_ASSESSMENTS, "assessment_name")),
    },
    names=_NAMES,
    skip=dict.fromkeys(_under(_ASSESSMENTS, "valid"), ("false",)),
)

OPENAI_EVALS = LabelMapping(
    prefix="openai-evals/",
    records=("data.*",),
    each=("results.*",),
    fields={
        "response_id": _at("datasource_item.response_id", "datasource_item.item.response_id"),
        "label_id": _at("id"),
        "correct": _verdict("results.*.passed", "results.*.score"),
        "event_time": _at("created_at"),
        "annotator_kind": Lookup(paths_of("results.*.type"), patterns={"(?i).*model.*": "model", ".*": "code"}),
        "annotator_id": _at("results.*.name"),
        "inclusion_probability": _at("datasource_item.inclusion_probability"),
        "source": Lookup(paths_of("results.*.type"), patterns={"(?i).*model.*": "judge", ".*": "test"}),
        "name": _at("results.*.name"),
    },
    defaults={"annotator_kind": "code"},
)

_EVALUATION = "attributes.gen_ai.evaluation"

OTEL = LabelMapping(
    prefix="otel/",
    records=("resourceLogs.*.scopeLogs.*.logRecords.*",),
    fields={
        "response_id": _at("attributes.gen_ai.response.id", "spanId", "span_id", "traceId", "trace_id"),
        "correct": _verdict(f"{_EVALUATION}.score.label", f"{_EVALUATION}.score.value"),
        "event_time": _at("timeUnixNano", "observedTimeUnixNano", "time", "timestamp"),
        "annotator_id": _at(f"{_EVALUATION}.name"),
        "name": _at(f"{_EVALUATION}.name"),
    },
    names=_NAMES,
    defaults={"annotator_kind": "model"},  # the conventions do not say who evaluates
)

_IDS = {
    r"'('*(?:[=+\-@].*|\d[\d.,:/eE+ -]*))": r"\1",  # see annotation/rows.py
    r"(-?\d{1,15})\.0": r"\1",  # tools write whole numbers so where a column has blanks
}
_DECIMAL_COMMA = {r"\s*(\d*),(\d+)\s*": r"\1.\2"}  # spreadsheets of many countries

CSV = LabelMapping(
    fields={
        "response_id": Lookup(paths_of("response_id"), patterns=_IDS),
        "annotator_kind": Lookup(
            paths_of("annotator_kind"), patterns={rf"(?i)\s*{kind}\s*": kind for kind in ("human", "model", "code")}
        ),
        **{name: _at(name) for name in ("label_id", "event_time", "annotator_id", "source")},
        "inclusion_probability": Lookup(paths_of("inclusion_probability"), patterns=_DECIMAL_COMMA),
        "correct": Lookup(paths_of("correct"), patterns={**_VERDICTS, **_DECIMAL_COMMA}),
    },
)  # fmt: skip

PRESETS: Mapping[str, LabelMapping] = {
    "label-studio": LABEL_STUDIO,
    "argilla": ARGILLA,
    "langfuse": LANGFUSE,
    "langsmith": LANGSMITH,
    "phoenix": PHOENIX,
    "mlflow": MLFLOW,
    "openai-evals": OPENAI_EVALS,
    "otel": OTEL,
    "csv": CSV,
}
"""Mapping by the name that ``driftgauge labels import --from`` takes."""
