"""``driftgauge threshold``: which p_correct keeps a wanted accuracy, read from a store, with a guarantee."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands.options import (
    ConfigOption,
    ContextOption,
    JsonOption,
    SetOption,
    StoreOption,
    store_url_or_setting,
)
from driftgauge.agent.commands.terminal import EXIT_FAILED, print_line, write_json

if TYPE_CHECKING:
    from driftgauge.connectors.store.predictions import Predictions
    from driftgauge.models.classify.kept_accuracy import KeptAccuracy


@dataclass(frozen=True, slots=True)
class Found:
    """The threshold, or the reason why there is none; its fields are those of ``--json``.

    Attributes
    ----------
    accuracy, confidence : as asked
    context, model, domain : of the responses; domain None: all
    n_responses : responses with a p_correct
    n_labels : those of them that have a label which counts
    threshold : p_correct; None when there is none, and ``reason`` says why
    share_kept : share of the responses with a p_correct at or above the threshold, in [0, 1]
    n_labels_kept : labels behind the guarantee
    accuracy_labelled : their weighted mean
    guarantee : one sentence with its assumption
    """

    accuracy: float
    confidence: float
    context: str
    model: str
    domain: str | None
    n_responses: int
    n_labels: int
    threshold: float | None = None
    share_kept: float | None = None
    n_labels_kept: int | None = None
    accuracy_labelled: float | None = None
    guarantee: str | None = None
    reason: str | None = None


def threshold(
    accuracy: Annotated[
        float, typer.Option(min=0.01, max=0.9999, help="Wanted share of right ones among the kept responses.")
    ],
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Probability with which the threshold keeps that accuracy.")
    ] = 0.9,
    domain: Annotated[str | None, typer.Option(help="Only responses of this domain. Default: all domains.")] = None,
    since: Annotated[str, typer.Option(help="Only responses from this time on, such as 2026-01-31T00:00:00Z.")] = "",
    inclusion_floor: Annotated[
        float | None,
        typer.Option(
            min=1e-6, max=1, help="Smallest inclusion probability of your labels. Default: the smallest seen."
        ),
    ] = None,
    store: StoreOption = "",
    context: ContextOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """Find which responses need no second look: the p_correct that keeps an accuracy, with a guarantee.

    It uses the p_correct that each response got when it arrived, and the labels that came later. The agent may be
    running. The exit code is 1 when no threshold can be given.
    """
    from driftgauge.agent.core.context_state import context_model
    from driftgauge.agent.outlets.versions import contexts_in, named_context
    from driftgauge.agent.service.times import read_time
    from driftgauge.connectors.store.predictions import Predictions
    from driftgauge.connectors.store.queries import open_queries

    start = read_time(since) if since else None
    with closing(open_queries(store_url_or_setting(store, config, overrides))) as queries:
        contexts = contexts_in(queries)
        name = named_context(contexts, context)
        found = lowest(
            Predictions(queries, name, domain, start),
            context_model(contexts[name]),
            accuracy,
            confidence,
            1 / inclusion_floor if inclusion_floor else None,
        )
    for line in lines(found):
        print_line(line)
    write_json(out, asdict(found))
    if found.threshold is None:
        raise typer.Exit(EXIT_FAILED)


def lowest(
    predictions: Predictions, model: str, accuracy: float, confidence: float, largest_weight: float | None
) -> Found:
    """The lowest threshold that is safe."""
    from driftgauge.models.classify.kept_accuracy import kept_accuracies

    p, correct, weight = predictions.labelled()
    n = predictions.count()
    nothing = Found(accuracy, confidence, predictions.fingerprint, model, predictions.domain, n, len(p))
    tested = kept_accuracies(p, correct, weight, accuracy, confidence, largest_weight) if len(p) else []
    safe = [kept for kept in tested if kept.is_safe]
    if not safe:
        return replace(nothing, reason=why_none(tested, len(p), accuracy, confidence))
    kept, is_random = safe[-1], largest_weight is None and bool((weight == weight[0]).all())
    floor = None if is_random else 1 / max(weight.max(), largest_weight or 0.0)
    return replace(
        nothing,
        threshold=kept.threshold,
        share_kept=predictions.count(kept.threshold) / n,
        n_labels_kept=kept.n_labels,
        accuracy_labelled=kept.accuracy,
        guarantee=guarantee(kept.threshold, accuracy, confidence, floor),
    )


def guarantee(threshold: float, accuracy: float, confidence: float, inclusion_floor: float | None) -> str:
    """The promise with its assumption; ``inclusion_floor`` None: all labels have the same weight."""
    labels = (
        "the labelled responses are a random sample of it"
        if inclusion_floor is None
        else f"responses were chosen for labelling with the stated probabilities, none below {inclusion_floor:.4g}"
    )
    return (
        f"With probability {confidence:g}, at least {accuracy:g} of the responses with p_correct >= {threshold:g} are "
        f"right, if the traffic to come is like the traffic of this selection and {labels}."
    )


def why_none(tested: Sequence[KeptAccuracy], n_labels: int, accuracy: float, confidence: float) -> str:
    """Why no threshold is safe."""
    from driftgauge.models.classify.kept_accuracy import labels_needed

    needed = labels_needed(accuracy, confidence)
    wanted = f"accuracy {accuracy:g} with confidence {confidence:g}"
    if n_labels < needed:
        return (
            f"too few labels: {n_labels} labelled responses have a p_correct, and {wanted} takes at least {needed} at "
            "or above a threshold, all of them right"
        )
    best = max((kept for kept in tested if kept.n_labels >= needed), key=lambda kept: kept.accuracy or 0.0)
    seen = f"at p_correct >= {best.threshold:g}, {best.accuracy:.3f} of {best.n_labels} labelled responses are right"
    if (best.accuracy or 0.0) > accuracy:
        return f"too few labels to show {wanted}: {seen}"
    return f"accuracy {accuracy:g} is out of reach; the best threshold with {needed} labels or more: {seen}"


def lines(found: Found) -> Iterator[str]:
    """What the command prints."""
    from driftgauge.agent.outlets.live_table import printable

    where = "all domains" if found.domain is None else f"domain {printable(found.domain)}"
    yield (
        f"context {found.context} ({printable(found.model) or 'unnamed model'}), {where}: {found.n_responses:,} "
        f"responses with a p_correct, {found.n_labels:,} of them labelled"
    )
    if found.threshold is None:
        yield f"no threshold: {found.reason}"
        return
    yield f"threshold {found.threshold:g} keeps {found.share_kept:.1%} of the responses"
    yield f"{found.n_labels_kept:,} labels at or above it, {found.accuracy_labelled:.3f} of them right"
    yield str(found.guarantee)
