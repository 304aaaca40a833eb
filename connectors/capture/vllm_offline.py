"""vLLM without a server: the outputs of ``LLM.generate`` or ``LLM.chat`` to responses. vLLM is not imported.

Ask for log-probabilities: ``SamplingParams(logprobs=k)``. vLLM lists the sampled token beside the k likeliest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from driftgauge.models.arrays import Float32s
from driftgauge.models.events import Context, Generation, Signal


def responses_of(outputs: Iterable[Any], *, run: str, event_time: float, context: Context) -> list[Generation]:
    """The response of each choice of each request, for `driftgauge.connectors.capture.tap.Tap.put`.

    Parameters
    ----------
    outputs : what ``LLM.generate`` returned
    run : names the run; ids are ``run/request`` or, of several choices, ``run/request#choice``. vLLM counts requests
        from 0 in each process, so two runs need two names
    event_time : UTC seconds; vLLM's outputs have no time
    context : model, k, temperature and so on; without k, that is what the outputs show

    Raises
    ------
    ValueError
        For outputs without log-probabilities.

    Examples
    --------
    >>> from types import SimpleNamespace as Of
    >>> row = {7: Of(logprob=-2.0, rank=3), 5: Of(logprob=-0.5, rank=1), 6: Of(logprob=-1.5, rank=2)}
    >>> choice = Of(index=0, token_ids=[7], logprobs=[row], finish_reason="stop")
    >>> request = Of(request_id="0", outputs=[choice], prompt_token_ids=[1, 2])
    >>> (response,) = responses_of([request], run="nightly", event_time=1.76e9, context=Context("m", k=2))
    >>> response.id, response.signal.chosen_logprobs.tolist(), response.signal.top_logprobs.tolist()
    ('nightly/0', [-2.0], [[-0.5, -1.5]])
    """
    return [
        Generation(
            id=f"{run}/{output.request_id}" + (f"#{choice.index}" if len(output.outputs) > 1 else ""),
            event_time=event_time,
            domain="",
            context=context,
            signal=_signal(choice, context.k),
            finish_reason=choice.finish_reason,
            n_prompt_tokens=None if output.prompt_token_ids is None else len(output.prompt_token_ids),
            n_completion_tokens=len(choice.token_ids),
        )
        for output in outputs
        for choice in output.outputs
    ]


def _signal(choice: Any, k: int | None) -> Signal:
    if choice.logprobs is None:
        raise ValueError("the outputs have no log-probabilities: ask for them by SamplingParams(logprobs=5)")
    rows: Sequence[Mapping[int, Any]] = [choice.logprobs[i] for i in range(len(choice.logprobs))]
    chosen = [
        row[token].logprob if token in row else np.nan for token, row in zip(choice.token_ids, rows, strict=False)
    ]
    return Signal(np.array(chosen, np.float32), _ranked(rows, k))


def _ranked(rows: Sequence[Mapping[int, Any]], k: int | None) -> Float32s:
    """(T, k) of the likeliest; the sampled token is left out where its rank is beyond k."""
    listed = [
        sorted((one.logprob for one in row.values() if k is None or (one.rank or 0) <= k), reverse=True) for row in rows
    ]
    top = np.full((len(rows), max(map(len, listed), default=0)), np.nan, dtype=np.float32)
    for values, place in zip(listed, top, strict=True):
        place[: len(values)] = values
    return top
