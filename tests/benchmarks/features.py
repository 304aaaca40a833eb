"""Tokens per second from log-probabilities to features on one core, beside a loop over tokens and a copy of bytes."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from driftgauge.models.events import Signal
from driftgauge.models.signals.features import extract
from tests.benchmarks.timing import seconds

K = 20
SHAPES = {"short": (6_000, 44), "long": (500, 500)}


def traffic(n: int, length: int) -> list[Signal]:
    """``n`` responses of ``length`` tokens with the logprobs of 20 alternatives each."""
    p = np.random.default_rng(0).dirichlet(np.full(K, 0.3), size=n * length).astype(np.float32)
    rows = np.log(np.sort(p)[:, ::-1] + np.float32(1e-12)).reshape(n, length, K)
    return [Signal(chosen_logprobs=np.minimum(row[:, 0], 0), top_logprobs=row) for row in rows]


def token_loop(signals: list[Signal]) -> list[list[float]]:
    """The same 22 features, computed token by token without arrays."""
    table = []
    for signal in signals:
        assert signal.top_logprobs is not None
        assert signal.chosen_logprobs is not None
        entropy, nll, tail, variance = [], [], [], []
        for row, chosen in zip(signal.top_logprobs, signal.chosen_logprobs, strict=True):
            p = [math.exp(logp) for logp in row]
            mass = sum(p)
            total = sum(x * logp for x, logp in zip(p, row, strict=True))
            square = sum(x * logp * logp for x, logp in zip(p, row, strict=True))
            entropy.append(-total)
            nll.append(-chosen)
            tail.append(max(1 - mass, 0))
            variance.append(max(square / mass - (total / mass) ** 2, 0))
        tails = [sum(tail) / len(tail), max(tail), sum(variance) / len(variance), max(variance), sum(variance)]
        table.append(_entropy_summaries(entropy) + _nll_summaries(nll) + tails)
    return table


def _entropy_summaries(h: list[float]) -> list[float]:
    n, ordered = len(h), sorted(h)
    mean = sum(h) / n
    std = math.sqrt(sum((x - mean) ** 2 for x in h) / max(n - 1, 1))
    skewness = sum((x - mean) ** 3 for x in h) / n / (std**3 + 1e-8)
    kurtosis = sum((x - mean) ** 4 for x in h) / n / (std**4 + 1e-8)
    quantiles = [_quantile(ordered, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9)]
    return [mean, std, max(h), *quantiles, skewness, kurtosis, sum(h)]


def _quantile(ordered: list[float], q: float) -> float:
    place = (len(ordered) - 1) * q
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def _nll_summaries(nll: list[float]) -> list[float]:
    weighted = [x * math.log(x + 1e-8) for x in nll]
    mean = sum(nll) / len(nll)
    return [mean, max(nll), sum(nll), sum(weighted), max(weighted), math.exp(mean)]


def measure() -> dict[str, dict[str, Any]]:
    """Tokens per second of `extract`; the baselines are tokens per second too."""
    few = traffic(100, 100)
    np.testing.assert_allclose(extract(few), token_loop(few), rtol=1e-3, atol=1e-4)
    results = {}
    for shape, (n, length) in SHAPES.items():
        signals = traffic(n, length)
        batch, copy, loop = seconds(partial(extract, signals), _copy_of(signals), partial(token_loop, few), repeats=20)
        name, speed = "" if shape == "long" else f"_{shape}", n * length / batch
        results[f"features_vs_token_loop{name}"] = _result(speed, 100 * 100 / loop)
        results[f"features_vs_copying_bytes{name}"] = _result(speed, n * length / copy)
    return results


def _copy_of(signals: list[Signal]) -> Callable[[], object]:
    arrays = [signal.top_logprobs for signal in signals if signal.top_logprobs is not None]
    scratch = np.empty_like(arrays[0])

    def copy() -> None:
        for array in arrays:
            np.copyto(scratch, array)

    return copy


def _result(value: float, baseline: float) -> dict[str, Any]:
    return {"value": value, "unit": "tokens/s", "baseline": baseline, "ratio": value / baseline}
