"""From whole responses to arrivals: their features, and whether these can be used.

Arrivals depend on no state, so they can be made before the pipeline, for many responses at once and by another process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from driftgauge.models.arrays import Floats
from driftgauge.models.events import Arrival, Context, Event, Generation, Signal, SignalForm
from driftgauge.models.probes import prompt_of
from driftgauge.models.signals.context_guard import is_uninformative
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, N_PARTS, WIDTHS, FeatureSpec
from driftgauge.models.signals.features import extract
from driftgauge.models.signals.opening import opening
from driftgauge.models.signals.signal_counts import ObservedK, observed_k

_FORMS_WITHOUT_PROFILE = ("features", "none")


def with_features(
    events: Sequence[Event], spec: FeatureSpec = DEFAULT_SPEC, *, min_coverage: float = 0.9
) -> list[Event]:
    """Compute the features of all whole responses together.

    Parameters
    ----------
    events : in any mixture
    spec : which features
    min_coverage : smallest share of the generated tokens that must have an entry, in [0, 1]

    Returns
    -------
    The same events in the same order, with every `Generation` replaced by an `Arrival`.

    Examples
    --------
    >>> from driftgauge.models.events import Context, Signal, Tick
    >>> response = Generation("r", 0.0, "law", Context(), Signal(chosen_logprobs=np.log([0.5, 0.25])))
    >>> arrival, tick = with_features([response, Tick(1.0)])
    >>> arrival.form, arrival.n_tokens, tick
    ('chosen_logprobs', 2, Tick(event_time=1.0))
    """
    whole = [event.signal for event in events if isinstance(event, Generation)]
    table = iter(extract(whole, spec))
    return [arrive(event, next(table), min_coverage) if isinstance(event, Generation) else event for event in events]


def arrive(
    generation: Generation, features: Floats, min_coverage: float, form: SignalForm | None = None,
    observed: ObservedK | None = None, first: Floats | None = None, n_tokens: int | None = None,
) -> Arrival:  # fmt: skip
    """Make an arrival of a response: decide whether its features can be used, and fill in k where it was not declared.

    Parameters
    ----------
    generation : the response
    features : (d,) float32
    min_coverage : smallest share of the generated tokens that must have an entry, in [0, 1]
    form : the form of the signal when it differs from that of ``generation.signal``; None: it does not
    observed : k where the signal does not show it any more
    first : the opening where the signal does not show it any more
    n_tokens : tokens that have an entry where the signal does not show them any more
    """
    signal = generation.signal
    form = form or signal.form
    n_listed = signal.n_tokens if n_tokens is None else n_tokens
    if generation.context.k is None and (observed := observed or observed_k(signal)):
        generation = replace(generation, context=with_k(generation.context, observed))
    problem, coverage = None, 1.0
    if form not in _FORMS_WITHOUT_PROFILE:
        coverage = _coverage(generation, n_listed - signal.problems.get("not_computed", 0))
    if _are_missing(features):
        problem = "no_logprobs"
    elif is_uninformative(signal, generation.context):
        problem = "uninformative"
    elif coverage < min_coverage:
        problem = "low_coverage"
    if problem:
        features = np.full_like(features, np.nan)
        coverage = coverage if problem == "low_coverage" else 0.0
    k_may_be_less = observed is not None and observed.may_be_less
    is_prompt_named = prompt_of(generation.slices) is not None
    shown = (opening(signal) if first is None else first) if is_prompt_named else None
    n_tokens = n_listed or generation.n_completion_tokens or 0
    return Arrival(generation, features, form, n_tokens, problem, k_may_be_less, shown, coverage)


def _are_missing(features: Floats) -> bool:
    """Whether there is no value at all; mostly the first one is there, which takes a tenth of the time to see."""
    return math.isnan(features[0]) and bool(np.isnan(features).all())


def without_tokens(arrival: Arrival) -> Arrival:
    """The arrival without what it holds of single tokens: a hundredth of the bytes remain, and no decision needs more.

    >>> whole = Generation("r", 0.0, "law", Context(), Signal(chosen_logprobs=np.log([0.5, 0.25])))
    >>> light = without_tokens(arrive(whole, np.zeros(17, np.float32), 0.9))
    >>> light.form, light.n_tokens, light.generation.signal.chosen_logprobs
    ('chosen_logprobs', 2, None)
    """
    generation, features = arrival.generation, arrival.features
    if generation.token_ids is not None:
        generation = replace(generation, token_ids=None)
    light = generation.with_signal(features_alone(features, generation.signal.problems))
    return replace(arrival, generation=light)


def features_alone(features: Floats, problems: Mapping[str, int]) -> Signal:
    """The signal of a response of which only (d,) features are left.

    It holds the features of the whole response, also where ``features`` has those of its segments behind them.
    """
    # the same array where possible: pickle then sends it once
    whole = features if len(features) in WIDTHS else features[: len(features) // N_PARTS]
    return Signal(features=whole, problems=problems)


def with_k(context: Context, observed: ObservedK | None) -> Context:
    """The context with the number of alternatives that its response shows, where that is known."""
    return context if observed is None else replace(context, k=observed.k)


def _coverage(generation: Generation, n_computed: int) -> float:
    """Share of the generated tokens that have an entry, in [0, 1]; 1 when at most one has none: that is usual.

    ``n_computed`` : tokens that have an entry, without those that the server never computed. Without a count of the
    server, the share is 1. Reasoning tokens may lack entries.
    """
    if generation.n_completion_tokens is None:
        return 1.0
    expected = generation.n_completion_tokens - (generation.n_reasoning_tokens or 0)
    return 1.0 if n_computed >= expected - 1 else n_computed / expected
