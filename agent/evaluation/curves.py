"""Prequential curves: how fast, and how far, every kind of classifier learns on recorded traffic.

Each recording is replayed in a shuffled order; every response is predicted before its label is learned. The result
is a table (Markdown) and a picture of the Brier score against the number of labels. A run over several recordings
shows what happens when the traffic changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from driftgauge.agent.evaluation.figure import drawing
from driftgauge.agent.evaluation.fit import prequential, rows_of
from driftgauge.connectors.files.recordings import Recording
from driftgauge.models.arrays import Float64s
from driftgauge.models.classify.fits import KINDS
from driftgauge.models.classify.prequential import Tally
from driftgauge.models.learn.committee import Committee, CommitteeSettings, Metric

CONSTANT = "constant (share of right ones so far)"
WITH_OFFSETS = "{}, with domain offsets"
SPAN = 500
"""Number of labels behind one point of a curve."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One classifier on one run: its prediction for each label before it was learned, in order (NaN: not ready)."""

    run: str
    classifier: str
    correct: Float64s
    predicted: Float64s

    def metric(self, first: int = 0, last: int | None = None) -> Metric:
        """Metric over a range of the labels; labels without a prediction are left out."""
        tally = Tally()
        for p, correct in zip(self.predicted[first:last].tolist(), self.correct[first:last].tolist(), strict=True):
            if not math.isnan(p):
                tally.add(p, correct)
        return tally.metric(self.classifier, None)

    def brier(self) -> Float64s:
        """Mean squared error over the last `SPAN` labels, at every label; NaN where half of them have no prediction."""
        loss = (self.predicted - self.correct) ** 2
        sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(loss))])
        counts = np.concatenate([[0], np.cumsum(~np.isnan(loss))])
        ends = np.arange(1, len(loss) + 1)
        starts = np.maximum(ends - SPAN, 0)
        n = counts[ends] - counts[starts]
        enough = n >= np.minimum(ends, SPAN) / 2
        return np.where(enough, (sums[ends] - sums[starts]) / np.maximum(n, 1), np.nan)


def measure(
    runs: Sequence[Sequence[Recording]],
    settings: CommitteeSettings,
    kinds: Sequence[str] = KINDS,
    *,
    seed: int = 0,
    show: Callable[[str], None] = lambda _: None,
) -> list[Curve]:
    """Curves of every kind of classifier, and of a constant, on every run (one or more recordings, in order)."""
    curves = []
    for recordings in runs:
        name, rows = " then ".join(r.name for r in recordings), rows_of(recordings, seed=seed)
        before = np.arange(len(rows))
        share = np.where(before >= 20, (np.cumsum(rows.correct) - rows.correct) / np.maximum(before, 1), np.nan)
        curves.append(Curve(name, CONSTANT, rows.correct, share))
        for kind in kinds:
            show(f"{name}: {kind}")
            alone = replace(settings, champion=kind, challengers=(), gate_auroc=0.0)
            curves.append(Curve(name, kind, rows.correct, prequential(Committee(alone), rows)))
        if settings.champion in kinds:
            champion = Committee(replace(settings, gate_auroc=0.0))
            predicted = prequential(champion, rows, with_domain_offsets=True)
            curves.append(Curve(name, WITH_OFFSETS.format(settings.champion), rows.correct, predicted))
    return curves


def markdown(curves: Sequence[Curve]) -> str:
    """One table for each run."""
    lines: list[str] = []
    for run in dict.fromkeys(curve.run for curve in curves):
        lines += [
            f"### {run}",
            "",
            "| classifier | labels | Brier, first 500 | Brier | log loss | AUROC | calibration error |",
            "|---|---|---|---|---|---|---|",
            *(_line(curve) for curve in curves if curve.run == run),
            "",
        ]
    return "\n".join(lines)


def _line(curve: Curve) -> str:
    whole, first = curve.metric(), curve.metric(last=500)
    numbers = [first.brier, whole.brier, whole.log_loss, whole.auroc]
    error = f"{whole.calibration_error:.3f} [{whole.calibration_low:.3f}, {whole.calibration_high:.3f}]"
    cells = [curve.classifier, str(whole.n), *("-" if x is None else f"{x:.3f}" for x in numbers), error]
    return "| " + " | ".join(cells) + " |"


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Write a picture, one panel for each run; ConnectorError without matplotlib (see `drawing`)."""
    runs = list(dict.fromkeys(curve.run for curve in curves))
    figure = drawing()(figsize=(5.2 * len(runs), 4.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(runs), sharey=True))
    for panel, run in zip(panels, runs, strict=True):
        for curve in (c for c in curves if c.run == run):
            style = {"color": "0.5", "linestyle": ":"} if curve.classifier == CONSTANT else {}
            panel.plot(curve.brier(), label=curve.classifier, linewidth=1.2, **style)
        panel.set_title(run)
        panel.set_xlabel("labels learned")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f"Brier score over the last {SPAN} labels")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)
