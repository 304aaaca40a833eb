"""SGLang's own ``/generate`` and LMDeploy's, whole, in batches or as a stream.

Every event of a stream repeats everything, unless the server was started to send increments; an event that lists as
many tokens as the response has so far is a repetition. LMDeploy's lists are pairs without text, and always increments.

Sources: code of SGLang 0.5.23 and LMDeploy (2026-08). No whole recording of a stream was found.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from operator import attrgetter
from typing import Any

from msgspec import UNSET, Struct

from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    Piece,
    RequestParameters,
    columns_of,
    count_of,
    domain_of,
    id_of,
    text_of,
    word_of,
)


class Item(Struct, array_like=True, gc=False):
    """A token: ``[logprob, id, text]``."""

    logprob: Any = None
    id: Any = UNSET
    text: Any = UNSET


class MetaInfo(Struct):
    """The metadata of a response."""

    id: Any = None
    finish_reason: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    reasoning_tokens: Any = None
    weight_version: Any = None
    output_token_logprobs: list[Item] | None = None
    output_top_logprobs: list[list[Item] | None] | None = None
    output_token_logprobs_length: Any = None


class Body(Struct):
    """A response, or an event of a stream."""

    meta_info: MetaInfo
    text: Any = None
    model: Any = None
    metadata: Any = None
    driftgauge: Any = None


_LOGPROB = attrgetter("logprob")


def read(body: Body) -> Payload:
    """One payload; it is a part while it has no finish reason, or where it holds an increment."""
    meta = body.meta_info
    listed, rows = meta.output_token_logprobs, meta.output_top_logprobs or []
    tokens = None if listed is None else columns_of(listed, rows, _LOGPROB, _names)
    n_completion = count_of(meta.completion_tokens)
    finish_reason = word_of(meta.finish_reason)
    position, is_increment = _place(meta, n_completion)
    piece = Piece(
        tokens=tokens,
        finish_reason=finish_reason,
        text=text_of(body.text),
        position=position,
        is_last=finish_reason is not None,
        is_cumulative=not is_increment,
    )
    return Payload(
        pieces=[piece],
        id=id_of(meta.id),
        model=text_of(body.model),
        n_prompt=meta.prompt_tokens,
        n_completion=meta.completion_tokens,
        n_reasoning=meta.reasoning_tokens,
        parameters=RequestParameters(revision=text_of(meta.weight_version) or None),
        domain=domain_of(body.driftgauge, body.metadata),
        is_part=finish_reason is None or is_increment,
    )


def _place(meta: MetaInfo, n_completion: int | None) -> tuple[int | None, bool]:
    """The number of tokens before those listed (None where it is not exact), and whether there are any."""
    listed = meta.output_token_logprobs or []
    n_so_far = count_of(meta.output_token_logprobs_length)
    if n_so_far is not None:
        return max(n_so_far - len(listed), 0), bool(listed) and len(listed) < n_so_far
    is_lmdeploy = bool(listed) and listed[0].text is UNSET and listed[0].id is not UNSET
    n_missing = (n_completion or 0) - len(listed)  # one may lack an entry for other reasons
    return None, bool(listed) and n_missing > (0 if is_lmdeploy else 1)


def _names(items: Sequence[Item]) -> list[Hashable]:
    """The ids; "" where there is none."""
    ids = [item.id for item in items]
    return ids if {*map(type, ids)} <= {int, str} else [i if isinstance(i, int | str) else "" for i in ids]
