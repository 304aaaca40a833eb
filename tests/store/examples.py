"""Examples of rows and outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from driftgauge.models.events import Label, Rejected
from driftgauge.models.outputs import (
    Acquisition,
    Alert,
    Estimate,
    LabelList,
    LabelRequest,
    Priority,
    SliceEstimate,
    SliceEstimates,
    Status,
    WeakSegment,
    WeakSegments,
)
from driftgauge.models.rows import ResponseRow


def response(seq: int, **changes: Any) -> ResponseRow:
    values: dict[str, Any] = {
        "seq": seq,
        "id": f"r-{seq}",
        "domain": "law",
        "fingerprint": "f1",
        "event_time": 1000.0 + seq,
        "features": np.full(17, seq + 0.1, dtype=np.float32),
        "p_correct": 0.25,
        "classifier_version": 3,
        "n_tokens": 40,
    }
    return ResponseRow(**{**values, **changes})


def label(label_id: str, response_id: str, event_time: float = 2000.0, **changes: Any) -> Label:
    values: dict[str, Any] = {"correct": 1.0, **changes}
    return Label(label_id, response_id, event_time, **values)


def estimate(**changes: Any) -> Estimate:
    values: dict[str, Any] = {
        "domain": "law",
        "fingerprint": "f1",
        "model": "m",
        "window_start": 0.0,
        "window_end": 3600.0,
        "watermark": 3599.5,
        "revision": 1,
        "status": "ok",
        "status_reason": None,
        "accuracy": 0.75,
        "ci_low": 0.7,
        "ci_high": 0.8,
        "confidence_level": 0.95,
        "estimator": "mean",
        "n_events": 200,
        "n_labels": 20,
        "effective_sample_size": 19.5,
        "accuracy_labelled": None,
        "classifier_version": 2,
        "components": {"mean": 0.74},
        "spread": None,
        "interval_parts": {"sampling": 0.02},
    }
    return Estimate(**{**values, **changes})


def alert(number: int = 1, **changes: Any) -> Alert:
    values: dict[str, Any] = {
        "kind": "drift",
        "severity": "warning",
        "domain": "law",
        "fingerprint": "f1",
        "event_time": 3000.0,
        "since": 2500.0,
        "what": "p_correct",
        "before": 0.8,
        "after": None,
        "message": "p_correct fell",
        "number": number,
    }
    return Alert(**{**values, **changes})


def acquisition(event_time: float = 3600.0, revision: int = 1) -> Acquisition:
    row = Priority(
        rank=1, domain="law", fingerprint="f1", value=0.27, traffic_share=0.9, target=0.8, accuracy=0.5, ci_low=0.3,
        ci_high=0.7, p_top3=0.9, n_events=200, n_labels=0, worst=("r-1", "r-2"), why="no labels yet",
    )  # fmt: skip
    return Acquisition(event_time, (row,), revision)


def slice_estimates(window_end: float = 3600.0, **changes: Any) -> SliceEstimates:
    def one(name: str, accuracy: float | None, n_labels: int) -> SliceEstimate:
        low, high = (None, None) if accuracy is None else (accuracy - 0.1, accuracy + 0.1)
        status: Status = "signal_invalid" if accuracy is None else "ok"
        return SliceEstimate(
            slice=name, status=status, status_reason=None if accuracy else "no signal", accuracy=accuracy, ci_low=low,
            ci_high=high, n_events=120, n_labels=n_labels, accuracy_labelled=None,
        )  # fmt: skip

    values: dict[str, Any] = {
        "domain": "law",
        "fingerprint": "f1",
        "model": "m",
        "window_start": 0.0,
        "window_end": window_end,
        "revision": 1,
        "confidence_level": 0.9,
        "estimator": "averaged",
        "slices": (one("language=en", 0.85, 7), one("language=de", 0.75, 0), one("language=(other)", None, 0)),
        "n_left_out": 0,
    }
    return SliceEstimates(**{**values, **changes})


def weak_segments(event_time: float = 3600.0, domain: str = "law", fingerprint: str = "f1") -> WeakSegments:
    proved = WeakSegment(
        rank=1, domain=domain, fingerprint=fingerprint, slice="language=de,tenant=a|b", basis="labels", accuracy=0.5,
        accuracy_outside=0.8, n=60, p_value=0.002, worst=("r-1", "r-2"), why="50% of 60 labels are right, outside 80%",
    )  # fmt: skip
    suggested = WeakSegment(
        rank=2, domain=domain, fingerprint=fingerprint, slice="route=x", basis="predictions", accuracy=0.6,
        accuracy_outside=0.7, n=200, p_value=0.004, why="60% of 200 responses are predicted right, outside 70%",
    )  # fmt: skip
    return WeakSegments(event_time, event_time - 2_592_000.0, 0.01, 500, 40, 50, (proved, suggested))


def label_list(period_end: float = 3600.0, **changes: Any) -> LabelList:
    values: dict[str, Any] = {
        "domain": "law",
        "fingerprint": "f1",
        "model": "m",
        "period_start": 0.0,
        "period_end": period_end,
        "expires": period_end + 25_200.0,
        "rank": 1,
        "plan": "systematic",
        "reason": "interval 0.10 wide with 20 labels",
        "n_responses": 200,
        "n_labelled": 20,
        "n_asked": 10,
        "n_answered": 9,
        "p_answered": 0.75,
        "p_unanswered": None,
        "requests": (
            LabelRequest(1, "r-1", 1001.0, 0.25, 0.5, ("ticket-1",), {"language": "de"}, "https://traces.example/r-1"),
            LabelRequest(2, "r-2", 1002.0, 0.25, None),
        ),
    }
    return LabelList(**{**values, **changes})


def rejected(offset: int = 7, **changes: Any) -> Rejected:
    values: dict[str, Any] = {
        "reason": "malformed",
        "detail": "at byte 3",
        "topic": "generations",
        "partition": 2,
        "offset": offset,
        "key": b"\x00k",
        "value": b"\xff{not json",
        "headers": (("content-type", b"application/json"), ("trace", b"\x00\xff")),
    }
    return Rejected(**{**values, **changes})


def same(one: ResponseRow, other: ResponseRow) -> bool:
    """Equality to the bit, NaN equal to NaN."""
    scalars = [name for name in ResponseRow.__struct_fields__ if name != "features"]
    return np.array_equal(one.features, other.features, equal_nan=True) and all(
        a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
        for a, b in ((getattr(one, name), getattr(other, name)) for name in scalars)
    )
