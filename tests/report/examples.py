"""What the reports of these tests are about: the outputs, labels and responses of one day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.models.events import Label, Rejected
from driftgauge.models.outputs import Acquisition, Alert, Estimate, Output, Priority
from driftgauge.models.rows import ResponseRow
from tests.store.examples import label_list, slice_estimates, weak_segments

DAY_S = 86_400.0
START = 1_767_225_600.0  # 2026-01-01
END = START + DAY_S


def estimate(domain: str, accuracy: float, width: float, **changed: object) -> Estimate:
    made = Estimate(
        domain=domain, fingerprint="0123456789ab", model="small-model", window_start=START, window_end=END,
        watermark=END - 30, revision=2, status="ok", status_reason=None, accuracy=accuracy,
        ci_low=round(accuracy - width / 2, 6), ci_high=round(accuracy + width / 2, 6), confidence_level=0.9,
        estimator="corrected_mean", n_events=400, n_labels=25, effective_sample_size=25.0,
        accuracy_labelled=round(accuracy - 0.01, 6), classifier_version=7,
        components={"mean_probability": accuracy}, spread=None, interval_parts={"sampling": 0.01},
    )  # fmt: skip
    return replace(made, **changed)  # type: ignore[arg-type]  # field names by construction


def unknown(domain: str, **changed: object) -> Estimate:
    made = estimate(domain, 0.0, 0.0, **changed)
    return replace(made, accuracy=None, ci_low=None, ci_high=None, accuracy_labelled=None, components={})


HOUR_S = 3_600.0
BEFORE = {"window_start": START - DAY_S, "window_end": START, "watermark": START}
HOSTILE = "pipes|and <b>tags</b>\n# and lines"


def alert(number: int, domain: str, kind: str, severity: str, at: float, message: str, **changed: object) -> Alert:
    made = Alert(
        kind=kind, severity="warning", domain=domain, fingerprint="0123456789ab", event_time=at, since=None,
        what="p_correct", before=None, after=None, message=message, number=number,
    )  # fmt: skip
    return replace(made, severity=severity, **changed)  # type: ignore[arg-type]  # field names by construction


OUTPUTS: list[Output] = [
    estimate("math", 0.83, 0.06, **BEFORE),
    estimate("history", 0.9, 0.04, **BEFORE),
    estimate("geography", 0.7, 0.04, **BEFORE),
    *(estimate("math", 0.8 - 0.02 * h, 0.06, window_end=START + h * HOUR_S, n_labels=h) for h in (1, 2, 3, 7, 8)),
    *(unknown("math", window_end=START + h * HOUR_S, status="no_data") for h in (4, 5)),
    estimate("math", 0.61, 0.08),
    estimate("history", 0.91, 0.04, n_labels=0, accuracy_labelled=None, effective_sample_size=0.0),
    estimate("law", 0.79, 0.2, n_labels=3, accuracy_labelled=0.667),
    estimate(HOSTILE, 0.9, 0.02),
    unknown("new", status="insufficient_data", status_reason="7 of 30 responses", n_events=7, n_labels=0),
    alert(1, "math", "drift", "warning", START + 50_000, "p_correct of math moved from 0.820 to 0.610",
          since=START + 48_000, before=0.82, after=0.61),
    alert(2, "new", "new_context", "info", START + 60_000, "model small-model in a context not seen before: it starts"
          " its own state"),
    alert(3, "math", "below_target", "alarm", START + 70_000, "labels show accuracy below the target of 0.80"),
    alert(4, "math", "drift", "warning", END, "after the period"),
    Acquisition(END, (
        Priority(rank=1, domain="math", fingerprint="0123456789ab", value=0.0475, traffic_share=0.25, target=0.8,
                 accuracy=0.61, ci_low=0.57, ci_high=0.65, trend=-0.22, p_top3=0.97, n_events=400, n_labels=25,
                 worst=("r-7", HOSTILE), why="4.8 points to gain: 25.0% of traffic"),
        Priority(rank=2, domain=HOSTILE, fingerprint="0123456789ab", value=-0.025, traffic_share=0.25, target=0.8,
                 accuracy=0.9, ci_low=0.89, ci_high=0.91, p_top3=0.4, n_events=400, n_labels=25, is_new=True,
                 why="nothing to gain: 25.0% of traffic, new in this period"),
        Priority(rank=3, domain="new", fingerprint="0123456789ab", traffic_share=0.1, target=0.8, n_events=7,
                 n_labels=0, why="10.0% of traffic, no estimate yet: 7 of 30 responses"),
    )),
    label_list(
        END, domain=HOSTILE, period_start=START, rank=2, n_asked=0, n_answered=0, p_answered=None,
        reason="no estimate yet",
    ),
    label_list(
        END, domain="math", period_start=START, reason="interval 0.10 wide with 25 labels; 1 of 10 earlier requests "
        "brought no label, newer responses replace them",
    ),
    slice_estimates(END, domain="math", fingerprint="0123456789ab"),
    slice_estimates(END - 1.0, domain="math", fingerprint="0123456789ab"),
    weak_segments(END, "math", "0123456789ab"),
    weak_segments(START, "history", "0123456789ab"),
]  # fmt: skip


REJECTED = [Rejected("malformed", "not JSON", "generations", 0, n) for n in range(3)] + [Rejected("no_id", "no id")]
LAW = range(100, 180)
LABELS = [
    *(Label(f"drawn-{i}", f"r-{i}", START, 1.0, inclusion_probability=0.5, source="review") for i in range(2)),
    *(Label(f"thumbs-{i}", f"r-{i}", START, float(i > 0), source="thumbs") for i in range(3)),
    Label("lost", "R-1", START, 1.0),
    Label("complaint", "r-4", START, 0.0, source="complaint"),
    *(Label(f"judge-{i}", f"r-{i}", START, float(i != 1), "model", "j", 0.5, source="judge") for i in range(4)),
    *(Label(f"judge-{i}", f"r-{i}", START, float(i % 4 != 3), "model", "j", 0.5, source="judge") for i in LAW),
    *(Label(f"drawn-{i}", f"r-{i}", START, float(i % 8 > 2), inclusion_probability=0.5) for i in LAW[:24]),
]


def response(i: int, domain: str = "math") -> ResponseRow:
    is_drawn = i < 2 or i in LAW[:24]
    return ResponseRow(
        seq=i, id=f"r-{i}", domain=domain, fingerprint="0123456789ab", event_time=START + i,
        features=np.zeros(17, np.float32), p_correct=0.5, classifier_version=1, n_tokens=9,
        correct=float(i < 2 or i % 8 > 2) if is_drawn else float("nan"), weight=2.0 if is_drawn else 1.0,
        label_kind="designed" if is_drawn else "",
    )  # fmt: skip


def scored_context() -> ContextState:
    """A context whose published predictions were always .75, and right nine times in ten."""
    context, n = ContextState(PipelineSettings(), "small-model"), 40
    correct = np.where(np.arange(n) % 10, 1.0, 0.0)
    domains = ["math", "history"] * (n // 2)
    context.committee.score_and_learn(np.zeros((n, 17), np.float32), correct, np.ones(n), domains, np.full(n, 0.75))
    return context
