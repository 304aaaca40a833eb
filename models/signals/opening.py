"""The opening of a response: what its first tokens say about the model that served it.

The log-probabilities of the alternatives of the *first* token depend on prompt and model alone, whatever was sampled.
Those of the next tokens do so where nothing is sampled (temperature 0).
"""

from __future__ import annotations

import numpy as np

from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Signal

N_ALTERNATIVES, N_TOKENS = 5, 8
WIDTH = N_ALTERNATIVES + N_TOKENS

FLOOR_NATS = 10.0
"""Log-probabilities below minus this count as this: the far tail is noise."""


def opening(signal: Signal, known: Float32s | None = None, n_before: int = 0) -> Float32s:
    """The first log-probabilities of a response, also from pieces.

    Parameters
    ----------
    signal : the next tokens of the response
    known : the opening of the tokens before them; None: there are none
    n_before : number of tokens before them

    Returns
    -------
    (13,) nats, NaN where missing: the 5 likeliest alternatives of the first token, then the 8 first chosen tokens.

    Examples
    --------
    >>> top = np.log([[0.5, 0.25], [0.9, 0.05]])
    >>> whole = opening(Signal(chosen_logprobs=top[:, 0], top_logprobs=top))
    >>> first = opening(Signal(chosen_logprobs=top[:1, 0], top_logprobs=top[:1]))
    >>> rest = Signal(chosen_logprobs=top[1:, 0], top_logprobs=top[1:])
    >>> bool(np.array_equal(opening(rest, first, 1), whole, equal_nan=True)), int(np.isfinite(whole).sum())
    (True, 4)
    """
    found = np.full(WIDTH, np.nan, dtype=np.float32) if known is None else known.copy()
    top, chosen = signal.top_logprobs, signal.chosen_logprobs
    if n_before == 0 and top is not None and len(top) and top.shape[1] > 1:  # a single one may be the sampled token
        n = min(N_ALTERNATIVES, top.shape[1])
        found[:n] = top[0, :n]
    if chosen is not None and n_before < N_TOKENS:
        new = chosen[: N_TOKENS - n_before]
        found[N_ALTERNATIVES + n_before : N_ALTERNATIVES + n_before + len(new)] = new
    return found


def distance(one: Float32s, other: Float32s, *, is_greedy: bool) -> float:
    """How far two openings of the same prompt are apart: mean absolute difference in nats; NaN without a common part.

    ``is_greedy``: whether nothing is sampled, so that the chosen tokens can be compared too.

    >>> one, other = np.full(13, -1.0), np.array([-1.0, -1.5, *[-1.0] * 3, *[-3.0] * 8])
    >>> distance(one, other, is_greedy=False)
    0.1
    """
    n = WIDTH if is_greedy else N_ALTERNATIVES
    differences = np.abs(np.maximum(one[:n], -FLOOR_NATS) - np.maximum(other[:n], -FLOOR_NATS))
    known = differences[np.isfinite(differences)]
    return float(known.mean()) if len(known) else float("nan")
