"""The state of a response in flight, to and from bytes: plain values in MessagePack, never a pickle."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from driftgauge.models.events import Chunk, Context, Generation, Origin, Signal
from driftgauge.models.saved_format import SavedFormat
from driftgauge.models.signals.accumulator import Accumulator
from driftgauge.models.signals.entropy import N_SUMS
from driftgauge.models.signals.feature_sets import FeatureSpec
from driftgauge.models.signals.fold import Fold
from driftgauge.models.signals.in_flight import InFlight
from driftgauge.models.signals.signal_counts import SignalCounts


def _with_three_sums(state: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had two sums over the alternatives of a token, and an accumulator kept none.

    Those of its tokens are missing now; those of waiting pieces follow from their alternatives again.
    """
    accumulator = dict(state["accumulator"])
    if accumulator["fold"]:
        accumulator["fold"] = [*accumulator["fold"], Fold().snapshot()[-1]]
    elif accumulator["n_tokens"]:
        accumulator["sums"] = np.full((accumulator["n_tokens"], N_SUMS), np.nan, dtype=np.float32).tobytes()
    waiting = {
        n: [{**piece, "signal": {**piece["signal"], "alternative_sums": None}}, *marks]
        for n, (piece, *marks) in state["waiting"].items()
    }
    return {**state, "accumulator": accumulator, "waiting": waiting}


FLIGHT = SavedFormat("response in pieces", (_with_three_sums,), since="0.2.0")

_ARRAYS = ("chosen_logprobs", "top_logprobs", "entropy", "features", "segments", "censored", "alternative_sums")


def pack(response: InFlight) -> bytes:
    """State of a response in flight, as bytes; `unpack` takes them."""
    return FLIGHT.pack(
        {
            "head": _pack_generation(response.head),
            "form": response.first_form,
            "accumulator": response.accumulator.snapshot(),
            "next_sequence": response.next_sequence,
            "last_news": response.last_news,
            "news_number": response.news_number,
            "has_ended": response.has_ended,
            "width": response.width,
            "opening": _pack_array(response.opening),
            "counts": [getattr(response.counts, name) for name in SignalCounts.__slots__],
            "waiting": {n: [_pack_generation(c.piece), *_marks(c)] for n, c in response.waiting.items()},
        }
    )


def unpack(blob: bytes, spec: FeatureSpec) -> InFlight:
    """Make the response in flight that gave this state."""
    state = FLIGHT.unpack(blob)
    waiting = {int(n): Chunk(_unpack_generation(piece), *marks) for n, (piece, *marks) in state["waiting"].items()}
    counts = dict(zip(SignalCounts.__slots__, state["counts"], strict=False))  # version 0.1 has no end_with_chosen
    names = ("alternatives", "segments", "problems", "end_with_chosen")
    counters = {name: Counter(counts[name]) for name in names if name in counts}
    return InFlight(
        head=_unpack_generation(state["head"]),
        accumulator=Accumulator(spec).restore(state["accumulator"]),
        first_form=state["form"],
        next_sequence=state["next_sequence"],
        last_news=state["last_news"],
        news_number=state["news_number"],
        has_ended=state["has_ended"],
        counts=SignalCounts(**{**counts, **counters}),
        waiting=waiting,
        width=state.get("width", 0),
        opening=_unpack_array(state.get("opening")),
    )


def _marks(chunk: Chunk) -> list[Any]:
    """The fields of a chunk besides its piece, in their order; a trailer never waits, so ``is_trailer`` is left out."""
    return [chunk.sequence, chunk.is_last, chunk.position, chunk.trailer_follows]


def _pack_generation(generation: Generation) -> dict[str, Any]:
    fields = {name: getattr(generation, name) for name in Generation.__struct_fields__}
    signal = {name: _pack_array(getattr(generation.signal, name)) for name in _ARRAYS}
    marks = {"problems": dict(generation.signal.problems), "is_vocabulary": generation.signal.is_vocabulary}
    fields["signal"] = {**signal, **marks}
    fields["token_ids"] = _pack_array(generation.token_ids)
    fields["embedding"] = _pack_array(generation.embedding)
    fields["slices"], fields["problems"] = dict(generation.slices), dict(generation.problems)
    fields["context"] = msgspec.to_builtins(generation.context)
    fields["origin"] = msgspec.to_builtins(generation.origin)
    return fields


def _unpack_generation(fields: dict[str, Any]) -> Generation:
    signal = {name: _unpack_array(fields["signal"][name]) for name in _ARRAYS}
    marks = {name: fields["signal"][name] for name in ("problems", "is_vocabulary") if name in fields["signal"]}
    context, token_ids = Context(**fields["context"]), _unpack_array(fields["token_ids"])
    given = {
        "signal": Signal(**signal, **marks),
        "context": context,
        "token_ids": token_ids,
        "embedding": _unpack_array(fields.get("embedding")),
        "aliases": tuple(fields.get("aliases", ())),
        "origin": Origin(**fields.get("origin", {})),  # states of version 0.1 have none
    }
    return Generation(**{**fields, **given})


def _pack_array(array: npt.NDArray[Any] | None) -> list[Any] | None:
    return None if array is None else [array.dtype.str, list(array.shape), array.tobytes()]


def _unpack_array(packed: list[Any] | None) -> Any:
    return None if packed is None else np.frombuffer(packed[2], dtype=packed[0]).reshape(packed[1])
