"""Triton with the TensorRT-LLM back end: ``/generate`` and ``/generate_stream``, and the tensors of the v2 protocol.

``output_log_probs`` is a list of the chosen tokens' values, a bare number for one token, and all 0.0 where
log-probabilities were not requested. Every event of a stream repeats everything. Log-probabilities of the context are
not read.

Sources: published transcripts, none of which has real values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from driftgauge.connectors.decoding.formats.payload import Payload, Piece, Tokens, domain_of, id_of, text_of, tokens_of


class Tensor(Struct):
    """One output of the v2 protocol."""

    name: Any = None
    data: Any = None


class Body(Struct):
    """An answer, or an event of a stream."""

    output_log_probs: Any = None
    text_output: Any = None
    model_name: Any = None
    model_version: Any = None
    sequence_end: Any = None
    id: Any = None
    outputs: list[Tensor] | None = None
    metadata: Any = None
    driftgauge: Any = None


def read(body: Body) -> Payload:
    """One payload. Every event of a stream looks like a whole answer."""
    values, text = body.output_log_probs, body.text_output
    for tensor in body.outputs or []:
        if tensor.name == "output_log_probs":
            values = tensor.data
        elif tensor.name == "text_output":
            text = tensor.data
    beams, texts = _beams(values), text if isinstance(text, list) else [text]
    pieces = [
        Piece(index, _tokens(beam), text=text_of(texts[index]) if index < len(texts) else "", is_last=True,
              is_cumulative=True)
        for index, beam in enumerate(beams)
    ]  # fmt: skip
    return Payload(pieces, id=id_of(body.id), model=text_of(body.model_name),
                   domain=domain_of(body.driftgauge, body.metadata))  # fmt: skip


def _beams(values: Any) -> list[Any]:
    """The values of each beam: a list in a list is one."""
    is_nested = isinstance(values, list) and len(values) > 1 and all(isinstance(beam, list) for beam in values)
    return values if is_nested else [values]


def _tokens(values: Any) -> Tokens | None:
    """The values; None where all are 0.0, which means that log-probabilities were not requested."""
    flat = list(_flat(values))
    if not flat or all(value == 0 for value in flat):
        return None
    return tokens_of((value, "", ()) for value in flat)


def _flat(values: Any) -> Iterator[Any]:
    """The numbers of a number, a list, or a list of one list (a beam)."""
    if isinstance(values, list):
        for value in values:
            yield from value if isinstance(value, list) else [value]
    elif values is not None:
        yield values
