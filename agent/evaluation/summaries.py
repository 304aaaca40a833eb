"""The numbers that the protocol ``compositions`` reports: errors, order, coverage, and the estimates of each domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import spearmanr

from driftgauge.models.arrays import Float64s

Cell: TypeAlias = dict[str, Any]


def domain_cell(k: int, domain: str, found: Float64s) -> Cell:
    """What the default estimated for one domain from other domains.

    Parameters
    ----------
    found : (compositions, 4) true accuracy, estimate, and the ends of its interval
    """
    truth, estimate, low, high = found.T
    return {
        "k": k,
        "domain": domain,
        "accuracy": float(truth[0]),
        "median_estimate": _or_none(np.median, estimate),
        "low_estimate": _or_none(partial(np.percentile, q=5), estimate),
        "high_estimate": _or_none(partial(np.percentile, q=95), estimate),
        "median_error": _or_none(np.median, np.abs(estimate - truth)),
        "coverage": float(((low <= truth) & (truth <= high)).mean()),
        "n_compositions": len(found),
    }


def scored(values: Float64s, truth: Float64s, outside: Any) -> Cell:
    """The errors of one method over the domains of one composition, and how well it orders them."""
    error = np.abs(values - truth)
    ranked = len(truth) > 2 and np.ptp(values) > 0 and np.ptp(truth) > 0
    return {
        "mae": float(error.mean()),
        "mae_outside": float(error[outside].mean()) if outside.any() else np.nan,
        "rho": float(spearmanr(values, truth).statistic) if ranked else np.nan,
    }


def interval(low: Float64s, high: Float64s, truth: Float64s, outside: Any) -> Cell:
    """Coverage and width over the domains that no training row came from."""
    if not outside.any():
        return {}
    inside = (low <= truth) & (truth <= high)
    return {"covered": float(inside[outside].mean()), "width": float((high - low)[outside].mean())}


def summary(group: Sequence[Cell]) -> Cell:
    """The errors of one method over all compositions of one size."""
    mae = np.array([scored["mae"] for scored in group])
    return {
        "median_mae": float(np.median(mae)),
        "iqr": float(np.subtract(*np.percentile(mae, [75, 25]))),
        "median_mae_outside": _or_none(np.median, [s["mae_outside"] for s in group]),
        "spearman": _or_none(np.median, [s["rho"] for s in group]),
        "coverage": _or_none(np.mean, [s["covered"] for s in group if "covered" in s]),
        "mean_width": _or_none(np.mean, [s["width"] for s in group if "width" in s]),
        "n_compositions": len(group),
    }


def _or_none(statistic: Any, values: Iterable[float]) -> float | None:
    present = [value for value in values if np.isfinite(value)]
    return float(statistic(present)) if present else None
