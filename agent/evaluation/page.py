"""An evaluation as one HTML page with pictures, as the reports are. Pure: the result of a protocol in, text out.

Every cell of the result is in a table. Of the methods the `MAX_METHODS` with the smallest errors have a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from driftgauge.agent.evaluation.live import AGENT
from driftgauge.agent.evaluation.response_view import recording_of
from driftgauge.agent.evaluation.view import account_lines, place
from driftgauge.agent.outlets import charts, plots
from driftgauge.agent.outlets.markup import Markup, element
from driftgauge.agent.outlets.page import page, table
from driftgauge.models.classify.reliability import N_BINS, ReliabilityBin, share_interval

Cell: TypeAlias = Mapping[str, Any]

MAX_METHODS = 12

QUESTIONS: Mapping[str, str] = {
    "compositions": "How far estimates are from the true accuracy of domains without labels, after learning k others.",
    "labels": "How far estimates are from the true accuracy of a domain of which some responses have labels.",
    "coverage": "How often intervals contain the true accuracy, and how wide they are.",
    "alarms": "How often an alarm is false, and how many labels a fall of accuracy needs until the alarm.",
    "live": "How far the estimates of the whole agent are from the true accuracy, with few labels of each domain.",
    "responses": "How good the predictions of single responses are, each made before its label was learned.",
    "selection": "How much closer estimates come when the responses to label are chosen, compared with any responses.",
    "ranking": "Whether the domains that data would help most are named first.",
    "segments": "Which planted weak segments are found, and how often one is named where none was planted.",
    "drift": "Which domains of a later recording are flagged, how soon, and what is flagged where nothing changed.",
}
"""What each protocol measures."""

_BARS = frozenset(
    {"median_mae", "median_error", "false_alarm_share", "mae_ratio_to_uniform", "regret", "found_share", "flagged"}
)
"""Fields of cells that have a bar beside their number: the measure that a protocol is about."""

_HIDDEN = frozenset({"file", "target", "protocol", "top_k", "kept_accuracy", "reliability"})
"""Fields that headings or pictures have."""

_WORDS: Mapping[str, str] = {
    "median_mae": "median error", "iqr": "spread of errors (IQR)", "median_mae_outside": "median error outside",
    "spearman": "rank correlation", "mean_width": "width of intervals", "n_compositions": "compositions",
    "n_labels": "labels", "n": "responses", "aurc": "AURC", "aurc_best": "best AURC", "auroc": "AUROC",
    "brier": "Brier score",
}  # fmt: skip


_OF_DRIFT = (
    ("domains", "Domains"), ("methods", "Methods, over all domains that differ"), ("budgets", "Where nothing changes"),
)  # fmt: skip
_OF_OTHERS = (
    ("estimated", "Each domain"), ("cells", "Every method"), ("means", "Every method, all recordings"),
    ("responses", "Single responses"), ("calibration", "Stated and observed probability"),
)  # fmt: skip
"""Parts of a result that are lists of cells, with their headings."""


def to_page(result: Mapping[str, Any], protocol: str) -> str:
    """The whole page of the result of a protocol."""
    sections = [*_pictures(result), *_tables(result, protocol)]
    return page(
        f"Evaluation: {protocol}",
        element("p", QUESTIONS[protocol], class_="lead"),
        *(part for title, content in sections for part in (element("h2", title), *content)),
        element("h2", "What was used"),
        element("ul", *(element("li", text) for text in account_lines(result))),
    )


def _pictures(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Markup]]]:
    if estimated := result.get("estimated"):
        yield "Estimated and true accuracy of each domain", list(_estimated(estimated))
    cells = [cell for cell in result.get("cells", ()) if cell.get("median_mae") is not None]
    for across, words in (("n_labels", "labels of the domain"), ("k", "domains with labels")):
        found = [cell for cell in cells if cell.get(across) is not None]
        if len({cell[across] for cell in found}) > 1:
            yield f"Error against the number of {words}", list(_trends(found, across, result["default_method"], words))
            break  # with several k, each has lines of its own
    if responses := [cell for cell in result.get("responses", ()) if cell["domain"] is None]:
        yield "Predictions and labels", list(_responses(responses))
    if calibration := result.get("calibration"):
        yield "Stated and observed probability to be among the three most valuable", list(_stated(calibration))


def _estimated(cells: Sequence[Cell]) -> Iterator[Markup]:
    """Estimates of each domain against its truth, a picture for each recording and k."""
    known = [cell for cell in cells if cell["median_estimate"] is not None]
    yield _note(
        "A dot is the middle of the estimates of a domain, over compositions without it; the line holds nine of ten. "
        "On the dashed line estimates are right."
    )
    bottom = charts.lowest([value for cell in known for value in (cell["accuracy"], cell["low_estimate"])])
    cards = []
    for (name, k), group in groupby(known, key=lambda cell: (recording_of(cell), cell["k"])):
        found = [
            plots.Estimated(c["domain"], c["accuracy"], c["median_estimate"], c["low_estimate"], c["high_estimate"])
            for c in group
        ]
        cards.append(_card(f"{name}, k = {k}", plots.estimates(f"{name}, k = {k}", found, bottom)))
    yield element("div", *cards, class_="cards")


def _trends(cells: Sequence[Cell], across: str, default: str, words: str) -> Iterator[Markup]:
    """The error of the best methods, each beside that of the default or of the agent."""
    yield _note("The line is the median error of the method, the dashed line that of the default.")
    fixed = "k" if across == "n_labels" else "n_labels"
    cards = []
    for (name, other), group in groupby(
        sorted(cells, key=lambda cell: (recording_of(cell), cell[fixed] or 0)),
        key=lambda cell: (recording_of(cell), cell[fixed]),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for cell in sorted(group, key=lambda cell: float(cell[across])):
            lines.setdefault(cell["method"], []).append((float(cell[across]), cell["median_mae"]))
        reference = lines.get(default) or lines.get(AGENT) or []
        best = sorted(lines, key=lambda method: (lines[method] is not reference, lines[method][-1][1]))[:MAX_METHODS]
        most = max(value for method in best for _, value in lines[method])
        for method in best:
            title = f"{method}, {name}" + (f", {fixed.replace('n_', '')} = {other}" if other else "")
            cards.append(_card(title, plots.trend(title, lines[method], reference, (0.0, most), words)))
    yield element("div", *cards, class_="cards")


def _responses(cells: Sequence[Cell]) -> Iterator[Markup]:
    """Predictions against labels, and what is kept when the least certain responses are left out."""
    yield _note(
        "First: of responses with about the same predicted probability, this share was right. Second: the accuracy of "
        "the responses that are kept when those with the lowest predictions are left out; dashed: of all."
    )
    lowest = charts.lowest([value for cell in cells for value in cell["kept_accuracy"]])
    for cell in cells:
        name = recording_of(cell) + (f", k = {cell['k']}" if cell["k"] else "")
        kept = [(float(i), value) for i, value in enumerate(cell["kept_accuracy"], start=1)]
        whole = [(1.0, cell["accuracy"]), (100.0, cell["accuracy"])]
        bins = [ReliabilityBin(**found) for found in cell["reliability"]]
        yield element(
            "div",
            _card(f"{name}: predictions", charts.reliability(f"{name}: predictions", bins)),
            _card(f"{name}: kept", plots.trend(f"{name}: kept", kept, whole, (lowest, 1.0), "% of responses kept")),
            class_="cards",
        )


def _stated(cells: Sequence[Cell]) -> Iterator[Markup]:
    """What data lists state against what was so, for each number of labels."""
    cards = []
    for n_labels, group in groupby(cells, key=lambda cell: cell["n_labels"]):
        title = f"{n_labels} labels of each domain"
        tenths = groupby(group, key=lambda cell: min(int(cell["stated"] * N_BINS), N_BINS - 1))
        bins = [_merged(list(of_tenth)) for _, of_tenth in tenths]
        cards.append(_card(title, charts.reliability(title, bins, "rows of data lists")))
    yield element("div", *cards, class_="cards")


def _merged(cells: Sequence[Cell]) -> ReliabilityBin:
    n = sum(cell["n"] for cell in cells)
    stated, observed = (sum(cell[name] * cell["n"] for cell in cells) / n for name in ("stated", "observed"))
    return ReliabilityBin(n, stated, observed, *share_interval(observed, n, 0.9))


def _tables(result: Mapping[str, Any], protocol: str) -> Iterator[tuple[str, list[Markup]]]:
    """Every cell of the result, in tables of one recording each."""
    for name, title in _OF_DRIFT if protocol == "drift" else _OF_OTHERS:
        if cells := result.get(name):
            parts = groupby(sorted(cells, key=_table_place), key=_table_title)
            yield title, [part for of, group in parts for part in _table(of, list(group))]


def _table_place(cell: Cell) -> tuple[Any, ...]:
    return place(cell) if "protocol" in cell else (cell.get("file", ""),)


def _table_title(cell: Cell) -> str:
    if "protocol" not in cell:
        return str(cell.get("file", ""))
    of = [("k", cell.get("k")), ("labels", cell.get("n_labels"))]
    return ", ".join([recording_of(cell), *(f"{name} = {value}" for name, value in of if value is not None)])


def _table(title: str, cells: Sequence[Cell]) -> Iterator[Markup]:
    """Cells with one field in each column; a measure has a bar, a coverage the level that it should reach."""
    hidden = {*_HIDDEN, *(("k", "n_labels") if "protocol" in cells[0] else ())}
    fields = [name for name in cells[0] if name not in hidden and any(cell[name] is not None for cell in cells)]
    texts = [name for name in fields if any(isinstance(cell[name], str) for cell in cells)]
    same = [name for name in texts[:-1] if len(cells) > 1 and len({cell[name] for cell in cells}) == 1]
    texts = [name for name in texts if name not in same]
    order = [*texts, *(name for name in fields if name not in (*texts, *same))]
    bar = next((name for name in order if name in _BARS), None)
    if bar in ("median_mae", "median_error", "regret"):
        cells = sorted(cells, key=lambda cell: (cell[bar] is None, cell[bar] or 0.0))
    extent = (0.0, max((cell[bar] or 0.0 for cell in cells), default=0.0)) if bar else (0.0, 1.0)
    headings, kinds = [_WORDS.get(name, name.replace("_", " ")) for name in order], _kinds(order, texts)
    rows = [
        ["all" if (name, cell[name]) == ("domain", None) else _shown(cell[name]) for name in order] for cell in cells
    ]
    if bar:
        at = order.index(bar)
        headings.insert(at, "")
        kinds = kinds[:at] + "p" + kinds[at:]
        for row, cell in zip(rows, cells, strict=True):
            row.insert(at, charts.bar_row(f"{bar} of {row[0]}", cell[bar], extent))
    heading = ", ".join(filter(None, (title, *(f"{name}: {cells[0][name]}" for name in same))))
    if heading:
        yield element("h3", heading)
    yield table(heading or "Results", headings, rows, kinds)


def _kinds(order: Sequence[str], texts: Sequence[str]) -> str:
    return "".join("t" if name in texts or place == 0 else "n" for place, name in enumerate(order))


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _card(title: str, picture: Markup) -> Markup:
    return element("figure", element("figcaption", element("h3", title)), picture)


def _note(text: str) -> Markup:
    return element("p", text, class_="note")
