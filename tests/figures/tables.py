"""The tables of docs/estimators.md as Markdown, from the cells of `driftgauge evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from driftgauge.agent.evaluation.evaluate import DEFAULT_METHOD
from driftgauge.agent.evaluation.live import AGENT

Cell: TypeAlias = Mapping[str, Any]
Entries: TypeAlias = Mapping[tuple[str, int], Cell]
"""The cells of one recording by method and number of labels."""

Pair: TypeAlias = tuple[Cell | None, Cell | None]
"""The cells of a method and of labels alone."""

P = TypeVar("P")

ALL = "all"
"""Name of the rows over all recordings."""

FEW_DOMAINS = 3
"""Up to this number of labelled domains each number has rows of its own; a larger one is "many"."""

RIVALS = ("constant", "es_forest_17", "forest")
"""Baselines of the first table; the best single threshold on a feature, chosen by hindsight, is one more."""

PLAIN_INTERVAL = "lodo_t"
"""Student's interval from the errors on left-out domains, beside the default's."""

_OWN_THRESHOLDS = ("atc_forest", "atc_surprisal")  # not on a published feature


def without_labels(cells: Sequence[Cell]) -> str:
    """Protocol ``compositions``: the default against its rivals, at every k."""
    rows, ratios = [], []
    for (recording, k), group in _grouped(cells, lambda cell: int(cell["k"])):
        mae = {cell["method"]: cell["median_mae"] for cell in group}
        default = next(cell for cell in group if cell["method"] == DEFAULT_METHOD)
        single = {name: mae[name] for name in mae if name.startswith("atc_") and name not in _OWN_THRESHOLDS}
        best_single = min(single, key=single.__getitem__, default="")
        rivals = [mae[name] for name in (*RIVALS, best_single) if name]
        ratio = _ratio(default["median_mae"], min(rivals))
        published = _ratio(default["median_mae"], mae["es_forest_17"])
        ratios.append((k, ratio, published, default["coverage"], default["mean_width"]))
        hindsight = f"{_short(mae.get(best_single))} (`{best_single.removeprefix('atc_')}`)"
        rows.append([
            recording, k, default["n_compositions"], _bold(default["median_mae"]), *(_short(mae[r]) for r in RIVALS),
            hindsight, _two(ratio), _two(default["spearman"]), _two(default["coverage"]), _two(default["mean_width"]),
        ])  # fmt: skip
    for k in sorted({k for k, *_ in ratios}):
        of_k = [found[1:] for found in ratios if found[0] == k]
        to_best, to_published, coverage, width = (list(column) for column in zip(*of_k, strict=True))
        against = _times(_geometric(to_published))
        rows.append(
            [ALL, k, len(of_k), "", "", against, "", "", _two(_geometric(to_best)), "", _mean(coverage), _mean(width)]
        )
    header = ["traffic", "k", "n", DEFAULT_METHOD, *(f"`{r}`" for r in RIVALS), "best single ATC, by hindsight"]
    return _markdown([*header, f"{DEFAULT_METHOD} / best rival", "rho", "coverage", "width"], rows)


def with_labels(cells: Sequence[Cell]) -> str:
    """Protocol ``labels``: the default with n labels of the domain, against the same labels alone, at every k."""
    return _against_labels(cells, DEFAULT_METHOD, ("labelled domains", f"`{PLAIN_INTERVAL}`, 0 labels"))


def live(cells: Sequence[Cell]) -> str:
    """Protocol ``live``: what the whole agent emits, against labels alone, with n labels in every domain."""
    return _against_labels(cells, AGENT)


def single_responses(cells: Sequence[Cell]) -> str:
    """Predictions before the label was learned, and from k other domains; domains together."""
    rows = []
    for cell in cells:
        if cell["domain"] is None:
            way = f"from k = {cell['k']} other domains" if cell["k"] else "before the label"
            numbers = (
                cell[x] for x in ("accuracy", "brier", "log_loss", "auroc", "calibration_error", "aurc", "aurc_best")
            )
            kept = (cell["kept_accuracy"][share - 1] for share in (80, 50))
            rows.append([_recording(cell), way, cell["n"], *map(_short, numbers), *map(_short, kept)])
    header = ["traffic", "predicted", "n", "accuracy", "Brier", "log loss", "AUROC", "calibration error", "AURC"]
    return _markdown([*header, "best AURC", "top 80 %", "top 50 %"], rows)


def _against_labels(cells: Sequence[Cell], method: str, columns: Sequence[str] = ()) -> str:
    """One row for each recording and number of labelled domains, one column for each number of labels.

    The last rows are over recordings. ``columns`` are headers for what depends on labelled domains: their number, and
    the plain interval.
    """
    counts = sorted({cell["n_labels"] for cell in cells})
    rows, of_all = [], dict[str, list[Entries]]()

    def row(name: str, k: str, found: Sequence[Entries]) -> list[str]:
        entry = _entry if len(found) == 1 and name != ALL else _entry_of_all
        row = [entry([(one.get((method, n)), one.get(("labels_alone", n))) for one in found]) for n in counts]
        plain = _known([one.get((PLAIN_INTERVAL, 0)) for one in found])
        return [name, k, *row, _cover(plain)] if columns else [name, *row]

    for (recording, k), group in _grouped(cells, lambda cell: _number_of_domains(cell["k"])):
        entries = {(cell["method"], cell["n_labels"]): cell for cell in group}
        rows.append(row(recording, k, [entries]))
        of_all.setdefault(k, []).append(entries)
    rows += [row(ALL, k, found) for k, found in of_all.items()]
    names = [f"{n} labels" for n in counts]
    return _markdown(["traffic", columns[0], *names, columns[1]] if columns else ["traffic", *names], rows)


def _number_of_domains(k: int | None) -> str:
    return "" if k is None else str(k) if k <= FEW_DOMAINS else "many"


def _known(cells: Iterable[Cell | None]) -> list[Cell]:
    """The cells that have an error."""
    return [cell for cell in cells if cell is not None and cell["median_mae"] is not None]


def _cover(cells: Sequence[Cell]) -> str:
    return f"{_mean([cell['coverage'] for cell in cells])} / {_mean([cell['mean_width'] for cell in cells])}"


def _entry(found: Sequence[Pair]) -> str:
    ((own, alone),) = found
    if own is None or own["median_mae"] is None:
        return "no estimate"
    against = "-" if alone is None else _short(alone["median_mae"])
    missing = f" ({own['missing']:.0%} missing)" if own.get("missing") else ""
    return f"{_bold(own['median_mae'])} / {against} / {_cover([own])}{missing}"


def _entry_of_all(found: Sequence[Pair]) -> str:
    both = [known for own, alone in found if len(known := _known([own, alone])) == 2]
    ratio = _geometric([_ratio(own["median_mae"], alone["median_mae"]) for own, alone in both])
    return f"{_times(ratio)} / {_cover(_known([own for own, _ in found]))}"


def _grouped(cells: Iterable[Cell], place: Callable[[Cell], P]) -> Iterable[tuple[tuple[str, P], list[Cell]]]:
    """The cells of each recording and place, in their order."""
    groups: dict[tuple[str, P], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((_recording(cell), place(cell)), []).append(cell)
    return groups.items()


def _recording(cell: Cell) -> str:
    return " → ".join(name for name in (cell["file"], cell["target"]) if name)


def _markdown(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".removeprefix("0")


def _bold(value: float) -> str:
    return f"**{_short(value)}**"


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".removeprefix("0")


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return _two(float(np.mean(known))) if known else "-"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"x {_two(ratio)}"


def _ratio(error: float, other: float) -> float | None:
    """None where an error is 0, as in tiny recordings."""
    return error / other if error and other else None


def _geometric(ratios: Sequence[float | None]) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return float(np.exp(np.mean(np.log(known)))) if known else None
