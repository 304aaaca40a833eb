"""Measures the tables of docs/estimators.md on recordings, prints them and writes them: `make figures`.

Every number comes from `driftgauge evaluate`. A recording NAME_drift.npz beside NAME.npz is estimated from the domains
of NAME, as `tests/recordings/drift.npz` from `reference.npz`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from driftgauge.agent.commands.terminal import print_line, stage_progress
from driftgauge.agent.evaluation.evaluate import Protocol, evaluate
from driftgauge.connectors.files.recordings import read_recording
from tests.figures import tables

RECORDINGS = [Path(__file__).parents[1] / "recordings" / name for name in ("reference.npz", "drift.npz")]
LABELS = (0, 10, 20, 50)
FEW = range(1, tables.FEW_DOMAINS + 1)
PROTOCOLS: tuple[Protocol, ...] = ("compositions", "labels", "live", "responses")

TABLES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], str], str]] = {
    "Without labels": (
        "compositions",
        tables.without_labels,
        "Train on 80 % of k domains, estimate the rest of them and all others. Median MAE over n "
        "compositions; coverage and mean width of the 90 % interval, in domains outside the composition. In "
        "the rows of all: geometric means of the ratios, means of coverage and width.",
    ),
    "With a few labels from the domain": (
        "labels",
        tables.with_labels,
        "Domains outside the composition with n labels each: median MAE of the default / of the labels alone "
        "/ coverage / mean width. Many: half of the domains. In the rows of all: geometric mean of "
        "default over labels alone / coverage / width. Last column: coverage / width of the plain "
        "leave-one-domain-out t-interval.",
    ),
    "The whole agent, with n labels in every domain": (
        "live",
        tables.live,
        "As `driftgauge replay --labels-per-domain`: median over replays of the MAE of the last estimates / "
        "of the labels alone / coverage / mean width. 0 labels: half of the domains have none and are judged, "
        "the others have 50.",
    ),
    "Single responses": (
        "",
        tables.single_responses,
        "p_correct as predicted before the label was learned, and by the forest of k other domains. AURC: "
        "area of the risk-coverage curve; top 80 %: accuracy when the riskiest 20 % are sent to people.",
    ),
}
"""For each table its protocol (empty: any that has predictions of single responses), its maker and its caption."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything that the options ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.figures", description=__doc__)
    parser.add_argument("--recordings", type=Path, help="folder of recordings (.npz) instead of tests/recordings")
    parser.add_argument("--compositions", type=int, default=6, help="most compositions for each k")
    parser.add_argument("--runs", type=int, default=3, help="replays for each number of labels")
    parser.add_argument("--only", choices=PROTOCOLS, action="append", help="measure these alone; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=-1, help="processes; -1: one for every core")
    parser.add_argument("--out", type=Path, default=Path("out/figures"), help="folder for figures.md and figures.json")
    options = parser.parse_args(arguments)
    result = measured(options)
    text = report(result)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "figures.md").write_text(text)
    (options.out / "figures.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    print_line(text)


def measured(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The cells of every protocol on every recording."""
    found: dict[str, list[dict[str, Any]]] = {"cells": [], "responses": []}
    recordings = sorted(options.recordings.glob("*.npz")) if options.recordings else RECORDINGS
    for source, target in pairs(recordings):
        n_domains = len(set(read_recording(source).domain.tolist()))
        for protocol in options.only or PROTOCOLS:
            ks = (1, 2, 3, 4) if protocol == "compositions" else sorted({*FEW, max(n_domains // 2, 1)})
            limit = options.runs if protocol == "live" else options.compositions
            with stage_progress() as show:
                progress = partial(_show, show, f"{(target or source).stem}, {protocol}")
                result = evaluate(
                    [source], protocol, ks, limit, LABELS, target,
                    seed=options.seed, jobs=options.jobs, progress=progress,
                )  # fmt: skip
            for part, cells in found.items():
                cells += result[part]
    return found


def _show(show: Callable[[str, int, int | None], None], name: str, stage: str, done: int, total: int) -> None:
    show(f"{name}: {stage}", done, total)


def pairs(recordings: list[Path]) -> Iterator[tuple[Path, Path | None]]:
    """Source and target of each recording: itself alone, or the recording whose drift it is, and itself."""
    by_name = {path.stem: path for path in recordings}
    for name, path in by_name.items():
        source = by_name.get("reference" if name == "drift" else name.removesuffix("_drift"), path)
        yield source, None if source == path else path


def report(result: dict[str, list[dict[str, Any]]]) -> str:
    """All tables that have rows, as Markdown."""
    parts = []
    for title, (protocol, table, text) in TABLES.items():
        cells = [c for c in result["cells"] if c["protocol"] == protocol] if protocol else result["responses"]
        if cells:
            parts.append(f"### {title}\n\n{text}\n\n{table(cells)}")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
