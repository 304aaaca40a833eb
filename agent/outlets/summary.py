"""The summary that a demo or replay prints at its end: pure functions of the rows of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from driftgauge.agent.outlets.live_table import Row, format_ratio, printable
from driftgauge.agent.outlets.phrases import count, names
from driftgauge.models.outputs import Estimate
from driftgauge.models.pending import DESCRIPTIONS, PendingLabels

FEW_LABELS = 10
"""A window with fewer labels than this is reported as having few labels."""

_MAX_NAMES = 20
_MAX_RANKED = 3
_MAX_ID = 60


def summary(
    rows: Sequence[Row],
    results: Mapping[str, object],
    pending: PendingLabels | None = None,
    account: Iterable[str] = (),
) -> str:
    """Summarise the table: new, drifted and unlabelled domains, data to get, and labels that met no response.

    Parameters
    ----------
    results : path or URL of each result, by its name
    account : what became of the records, in sentences
    """
    lines = [*_watched(rows), *_drift(rows), *_labels(rows), *_pending(pending), *_data_list(rows), *account]
    lines += [f"{what.capitalize()}: {where}" for what, where in results.items()]
    return "\n".join(lines)


def _watched(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield "No domain is watched: no response was used."
        return
    n_domains = len({row.estimate.domain for row in rows})
    watched = f"{count(n_domains, 'domain')} watched"
    new = [row for row in rows if row.is_new]
    yield f"{watched}, of which new since the start: {_listed(row.name for row in new)}." if new else f"{watched}."


def _drift(rows: Sequence[Row]) -> Iterator[str]:
    drifted = [row for row in rows if row.drift]
    if not rows:
        return
    yield f"Drift in {_listed(row.name for row in drifted)}:" if drifted else "No drift."
    width = max((len(row.name) for row in drifted), default=0)
    for row in drifted[:_MAX_NAMES]:
        yield f"  {row.name:{width}}  {_moved(row)}"


def _moved(row: Row) -> str:
    drift = row.drift
    if drift is None or drift.before is None or drift.after is None:
        return "" if drift is None else printable(drift.what)
    direction = "rose" if drift.after > drift.before else "fell"
    change = f"{direction} from {format_ratio(drift.before)} to {format_ratio(drift.after)}"
    return f"{printable(drift.what)} {change}, {_estimated(row.estimate)}"


def _labels(rows: Sequence[Row]) -> Iterator[str]:
    estimated = [row for row in rows if row.estimate.accuracy is not None]
    none = [row for row in estimated if row.estimate.n_labels == 0]
    few = [row for row in estimated if 0 < row.estimate.n_labels < FEW_LABELS]
    if none:
        named = _listed(f"{row.name} ({_estimated(row.estimate)})" for row in none)
        yield f"No labels in {named}: estimated from the entropy signal alone."
    if few:
        named = _listed(f"{row.name} ({row.estimate.n_labels})" for row in few)
        yield f"Few labels in {named}: estimated mostly from the entropy signal."


def _pending(pending: PendingLabels | None) -> Iterator[str]:
    if pending is None or not pending.n or pending.oldest is None:
        return
    since = datetime.fromtimestamp(pending.oldest, UTC).strftime("%Y-%m-%d %H:%M")
    wait = "label waits for its response" if pending.n == 1 else "labels wait for their responses"
    yield f"{pending.n:,} {wait}, the oldest of {since} UTC:"
    for cause, n in sorted(pending.causes.items(), key=lambda item: -item[1]):
        given, known = pending.examples.get(cause, ("", ""))
        example = f" (label {given[:_MAX_ID]!r}, response {known[:_MAX_ID]!r})" if known else ""
        yield f"  {n:,}: {DESCRIPTIONS[cause]}{example}"


def _data_list(rows: Sequence[Row]) -> Iterator[str]:
    ranked = sorted((row.priority.rank, row) for row in rows if row.priority)
    if ranked:
        yield "Data to get:"
    for rank, row in ranked[:_MAX_RANKED]:
        yield f"  {rank}. {row.name}: {printable(row.priority.why, 240) if row.priority else ''}"


def _estimated(estimate: Estimate) -> str:
    if estimate.accuracy is None:
        return "no estimate"
    interval = f"[{format_ratio(estimate.ci_low)}, {format_ratio(estimate.ci_high)}]"
    return f"accuracy {format_ratio(estimate.accuracy)} {interval}"


def _listed(found: Iterable[str]) -> str:
    return names(found, _MAX_NAMES)


def distance_to_truth(rows: Sequence[Row], truth: Mapping[str, float]) -> tuple[float, float]:
    """Mean distance to the true accuracy over domains: of the estimates, and of the accuracy by labels alone.

    A domain without labels gets the accuracy by labels of all other domains: the best guess without an estimate.
    """
    known = [row.estimate for row in rows if row.estimate.accuracy is not None and row.estimate.domain in truth]
    labelled = [(e.accuracy_labelled, e.n_labels) for e in known if e.accuracy_labelled is not None]
    n_labels = sum(n for _, n in labelled)
    overall = sum(share * n for share, n in labelled) / n_labels if n_labels else 0.5
    estimated = [abs((e.accuracy or 0.0) - truth[e.domain]) for e in known]
    shares = [abs((overall if e.accuracy_labelled is None else e.accuracy_labelled) - truth[e.domain]) for e in known]
    return sum(estimated) / max(len(known), 1), sum(shares) / max(len(known), 1)
