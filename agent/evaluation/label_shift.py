"""Label shift: a domain differs only in the share of right responses, not in the features of right and wrong ones.

Sources: Saerens, Latinne and Decaestecker (2002) for EM, Lipton, Wang and Smola (2018) for BBSE. Right when the
assumption holds; far off when features change for any other reason, so never used alone.
"""

from __future__ import annotations

import numpy as np

from driftgauge.models.arrays import Float64s

_SMALLEST_GAP = 0.01  # of the mean probabilities of right and wrong responses; the error is divided by it


def label_shift_em(p: Float64s, source_accuracy: float, *, steps: int = 200) -> float:
    """Accuracy of a window from (n,) probabilities calibrated where the accuracy is ``source_accuracy``.

    Iterates the posterior mean of p under the odds of the new accuracy until it converges.

    >>> import numpy as np
    >>> round(label_shift_em(np.array([0.9, 0.9, 0.1]), 0.5), 2)
    0.71
    """
    odds = np.clip(p, 1e-6, 1 - 1e-6) / (1 - np.clip(p, 1e-6, 1 - 1e-6))
    source = np.clip(source_accuracy, 1e-3, 1 - 1e-3)
    accuracy = source
    for _ in range(steps):
        shifted = odds * (accuracy / (1 - accuracy)) * ((1 - source) / source)
        updated = float(np.clip(np.mean(shifted / (1 + shifted)), 1e-4, 1 - 1e-4))
        if abs(updated - accuracy) < 1e-6:
            break
        accuracy = updated
    return float(accuracy)


def label_shift_bbse(p: Float64s, source_p: Float64s, source_correct: Float64s) -> float:
    """Accuracy of a window from the mean probabilities of right and of wrong responses of the source (BBSE, soft).

    Parameters
    ----------
    p : (n,) probabilities in the window
    source_p, source_correct : (m,) held-out probabilities and labels in [0, 1] of the source

    Returns
    -------
    NaN when right and wrong responses of the source have about the same mean probability.

    >>> import numpy as np
    >>> round(label_shift_bbse(np.full(8, 0.7), np.array([0.8, 0.4]), np.array([1.0, 0.0])), 2)
    0.75
    """
    right = float(source_correct @ source_p / max(source_correct.sum(), 1e-12))
    wrong = float((1 - source_correct) @ source_p / max((1 - source_correct).sum(), 1e-12))
    if right - wrong < _SMALLEST_GAP:
        return float("nan")
    return float(np.clip((p.mean() - wrong) / (right - wrong), 0, 1))
