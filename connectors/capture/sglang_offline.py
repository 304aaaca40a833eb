"""SGLang without a server: the outputs of ``Engine.generate`` to responses. SGLang is not imported.

Ask for log-probabilities: ``generate(..., return_logprob=True, top_logprobs_num=k)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from driftgauge.connectors.capture.answers import encoded, in_context, responses_in
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Context, Generation

_FIELDS = ("text", "meta_info")


def responses_of(
    outputs: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, run: str, event_time: float, context: Context
) -> list[Generation]:
    """The response of each output, for `driftgauge.connectors.capture.tap.Tap.put`.

    Parameters
    ----------
    outputs : what ``Engine.generate`` returned: one output, or a list
    run : names the run; ids are ``run/id`` with SGLang's ``meta_info.id``
    event_time : UTC seconds; SGLang's outputs have no time
    context : model, k, temperature and so on; without k, that is what the outputs show

    Raises
    ------
    ValueError
        For outputs without log-probabilities.

    Examples
    --------
    >>> meta = {"id": "a1", "finish_reason": {"type": "stop"}, "completion_tokens": 1,
    ...         "output_token_logprobs": [(-0.5, 5, None)], "output_top_logprobs": [[(-0.5, 5, None), (-1.5, 6, None)]]}
    >>> (response,) = responses_of({"text": "x", "meta_info": meta}, run="r", event_time=1.76e9, context=Context("m"))
    >>> response.id, response.signal.top_logprobs.tolist()
    ('r/a1', [[-0.5, -1.5]])
    """
    listed = [outputs] if isinstance(outputs, Mapping) else [*outputs]
    decoder, found = Decoder(format="sglang", default_domain=""), list[Generation]()
    dropped: Counter[str] = Counter()
    for output in listed:
        responses, problems = responses_in(decoder, encoded(output, _FIELDS), event_time)
        found += responses
        dropped += problems
    if dropped:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in dropped.items())
        raise ValueError(f"outputs that give no response ({reasons}); ask with return_logprob=True")
    return [replace(in_context(one, context), id=f"{run}/{one.id}", aliases=()) for one in found]
