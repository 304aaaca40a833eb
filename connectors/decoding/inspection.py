"""What the agent understands of captured payloads: the work of ``driftgauge decode``.

A file is a JSON body, an array, JSON lines or server-sent events, as a client or a proxy wrote it. The result says what
each file holds, response by response, and why something cannot be used. It comes from the same code as in the agent:
the decoder, and the assembly of responses that arrive in pieces.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driftgauge.connectors.base import ConnectorError, Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.documents import format_of
from driftgauge.connectors.decoding.event_maker import Limits
from driftgauge.connectors.decoding.formats.payload import PayloadError
from driftgauge.connectors.files.event_files import UNREADABLE, opened
from driftgauge.models.arrays import Floats
from driftgauge.models.events import NO_DOMAIN, Chunk, Event, Generation, Label
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from driftgauge.models.signals.features import extract
from driftgauge.models.signals.in_flight import InFlight
from driftgauge.models.signals.signal_counts import SignalCounts, count

MAX_FILE_BYTES = 2**30


def decode_files(paths: Sequence[Path], format_name: str = "auto") -> list[dict[str, Any]]:
    """Describe each file as one object: see `decode_file`."""
    return [decode_file(path, format_name) for path in paths]


def decode_file(path: Path, format_name: str = "auto") -> dict[str, Any]:
    """Describe what one file holds: its format, its choices, how many labels, and what is rejected for which reason.

    Raises
    ------
    PayloadError
        When there is no format of this name.
    ConnectorError
        When the file cannot be read.
    """
    value = _content(path)
    decoder = Decoder(format=format_name, limits=Limits(max_bytes=MAX_FILE_BYTES))
    events, errors = decoder.decode_fully(Record(path.name, 0, 0, None, value))
    for choice in (choices := list(choices_of(events))):
        choice["id"] = "" if choice["id"].startswith(f"{path.name}/0/0") else choice["id"]  # made by the decoder
    return {
        "file": str(path),
        "format": format_of(value, format_name),
        "choices": choices,
        "labels": sum(isinstance(event, Label) for event in events),
        "rejected": _grouped(errors),
    }


def _content(path: Path) -> bytes:
    """The bytes of the file, unpacked and in UTF-8."""
    try:
        with opened(path) as readline:
            return b"".join(iter(partial(readline, MAX_FILE_BYTES), b""))
    except UNREADABLE as error:
        raise ConnectorError(f"{path}: {error}", retriable=False) from error


def _grouped(errors: Iterable[PayloadError]) -> list[dict[str, Any]]:
    """Each reason with its detail once, and how many documents it concerns."""
    counts = Counter((error.reason, str(error)) for error in errors)
    return [{"reason": reason, "detail": detail, "count": n} for (reason, detail), n in counts.items()]


def choices_of(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """Describe each response in these events. The pieces of a response are put together first."""
    assembly = Assembly(AssemblySettings())
    done: dict[str, dict[str, Any]] = {}
    for event in events:
        if isinstance(event, Generation):
            assembly.discard(event.id)
            yield _choice(event, count(event.signal), extract([event.signal])[0])
        elif isinstance(event, Chunk) and event.piece.id not in done:
            for response in assembly.completed_by(event):
                choice = done[response.head.id] = _choice_in_flight(response)
                yield choice
        elif isinstance(event, Chunk) and not event.is_trailer:
            problems = done[event.piece.id]["problems"]
            problems["piece_after_end"] = problems.get("piece_after_end", 0) + 1
    yield from map(_choice_in_flight, assembly.in_flight.values())


def _choice_in_flight(response: InFlight) -> dict[str, Any]:
    response.close_gaps()
    counts = response.final_counts
    if not response.has_ended:
        counts = counts + SignalCounts(problems=Counter(["no_end"]))
    choice = _choice(response.complete(), counts, response.features())
    return {**choice, "complete": response.has_ended}


def _choice(generation: Generation, counts: SignalCounts, features: Floats) -> dict[str, Any]:
    k = counts.k
    return {
        "id": generation.id,
        "model": generation.context.model,
        "domain": generation.domain,
        "domain_found": NO_DOMAIN not in generation.problems,
        "slices": dict(generation.slices),
        "aliases": list(generation.aliases),
        "finish_reason": generation.finish_reason,
        "n_tokens": counts.n_tokens,
        "n_logprobs": counts.n_logprobs,
        "n_censored": counts.n_censored,
        "n_missing": counts.n_missing,
        "k": None if k is None else {"min": k[0], "max": k[1]},
        "mean_chosen_logprob": counts.mean_logprob,
        "mean_entropy": _known(features[0]),
        "mean_tail_mass": counts.mean_tail_mass,
        "segments": dict(counts.segments),
        "coverage": _coverage(generation, counts.n_tokens - counts.problems["not_computed"]),
        "problems": {**counts.problems, **_of_fields(generation)},
        "complete": True,
    }


def _of_fields(generation: Generation) -> dict[str, int]:
    """The problems of other fields than the signal, without that of the domain, which is shown beside it."""
    return {reason: n for reason, n in generation.problems.items() if reason != NO_DOMAIN}


def _coverage(generation: Generation, n_tokens: int) -> float | None:
    """Share of the generated tokens that have a log-probability.

    Some servers send log-probabilities of reasoning tokens, some do not.
    """
    n_completion = generation.n_completion_tokens
    if not n_completion:
        return None
    n_answer = n_completion - (generation.n_reasoning_tokens or 0)
    return n_tokens / (n_answer if n_answer > 0 and n_tokens <= n_answer else n_completion)


def _known(value: np.floating[Any] | float) -> float | None:
    return None if math.isnan(value) else float(value)
