"""Events of an answer: one packed generation event a choice; here, those of a whole body, and of posted payloads.

What the values mean is left to the agent's own reading of them (`driftgauge.connectors.decoding`), so that an event
equals what the agent would have made of the answer itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from driftgauge.agent.gateway.wire.answers import ERRORS
from driftgauge.agent.gateway.wire.plan import Api
from driftgauge.connectors.base import Record
from driftgauge.connectors.capture.answers import responses_in, uniquely_named
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.documents import read_document
from driftgauge.connectors.decoding.event_maker import EventMaker, Limits
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.decoding.formats.payload import Payload, PayloadError, RequestParameters
from driftgauge.connectors.decoding.names import clean
from driftgauge.connectors.decoding.naming import Place
from driftgauge.models.arrays import Floats, Int64s
from driftgauge.models.events import Context, Generation, Signal

Halves: TypeAlias = npt.NDArray[np.float16]


class Facts(msgspec.Struct, frozen=True, tag=True):
    """What is known of a response before it comes: the request says it.

    Attributes
    ----------
    key : names the request; key of the records, and a further id of the response
    received : UTC seconds; the event time of answers that have none
    traced : ids of the span and the trace of the request, as further ids
    parameters : of the sampler, with the k that was asked for
    embedding : the direction of the prompt, 64 little-endian float32; empty: unknown
    keep_text, keep_token_ids : whether events contain the text of the answer, and the ids of its tokens if they came
    """

    key: str
    api: Api
    received: float
    domain: str
    slices: Mapping[str, str] = msgspec.field(default_factory=dict)
    embedding: bytes = b""
    traced: tuple[str, ...] = ()
    parameters: RequestParameters = msgspec.field(default_factory=RequestParameters)
    keep_text: bool = False
    keep_token_ids: bool = False


class Posted(msgspec.Struct, frozen=True, tag=True):
    """What is known of payloads that LiteLLM posts.

    Attributes
    ----------
    received : UTC seconds; the event time of payloads that have none
    keep_text : whether events contain the text of the answer
    """

    received: float
    keep_text: bool = False


class Event(NamedTuple):
    """Key and value of a record."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Collected:
    """The events of an answer, and how many of its choices gave none, by reason."""

    events: tuple[Event, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


def encode_task(facts: Facts | Posted, body: bytes) -> bytes:
    """A body for another process to collect."""
    return msgspec.msgpack.encode((facts, body))


def collect_task(task: bytes) -> Collected:
    """The events of a body that `encode_task` has encoded."""
    facts, body = _TASK.decode(task)
    return collect_body(facts, body) if isinstance(facts, Facts) else collect_posted(facts, body)


_TASK = msgspec.msgpack.Decoder(tuple[Facts | Posted, bytes])


def collect_posted(posted: Posted, body: bytes) -> Collected:
    """The events of payloads of LiteLLM, with the domains and the contexts that they state."""
    decoder = Decoder(format="litellm", default_domain="", keep_text=posted.keep_text, limits=Limits(len(body)))
    found, dropped = responses_in(decoder, body, posted.received)
    return Collected(tuple(Event(made.id.encode(), encode_generation(made)) for made in found), dropped)


def collect_body(facts: Facts, body: bytes) -> Collected:
    """The events of a whole body."""
    place = Place(Record("", 0, 0, facts.key.encode(), None, (), facts.received))
    maker = EventMaker(default_domain=facts.domain, keep_text=facts.keep_text, limits=Limits())
    events, dropped = [], Counter[str]()
    try:
        payloads = [reading for reading in read_document(body)[1] if isinstance(reading, Payload)]
        for payload in payloads:
            payload.is_part = False  # bodies without token counts look like chunks
            found = [event for event in maker.events(payload, place) if isinstance(event, Generation)]
            ids = [ids_of(piece.tokens.chosen_names if piece.tokens else ()) for piece in payload.pieces]
            for number, generation in enumerate(found):
                if not generation.signal.n_tokens:
                    dropped["no_logprobs"] += 1
                    continue
                choice = generation.id.removeprefix(payload.id or facts.key)
                made = _of_request(generation, facts, payload.parameters)
                if facts.keep_token_ids and len(ids) == len(found):
                    made = replace(made, token_ids=ids[number])
                events.append(event_of(made, facts, choice))
    except PayloadError as error:
        return Collected(dropped={error.reason: 1})
    except ERRORS:
        return Collected(dropped={"unreadable": 1})
    dropped.update(error.reason for error in place.errors)
    return Collected(tuple(events), dropped)


def _of_request(generation: Generation, facts: Facts, of_answer: RequestParameters) -> Generation:
    """The same response in the domain and the context that its request says."""
    signal = generation.signal
    return replace(
        generation,
        domain=facts.domain,
        slices=facts.slices,
        context=context_of(facts, generation.context.model, of_answer),
        signal=Signal(halves(signal.chosen_logprobs), halves(signal.top_logprobs), segments=signal.segments),
    )


def context_of(facts: Facts, model: str, of_answer: RequestParameters) -> Context:
    """The request's own parameters hold where the answer does not repeat them."""
    found = facts.parameters.updated(of_answer)
    return Context(clean(model), found.revision, found.temperature, found.top_p, found.logprobs_mode, found.k)


def event_of(generation: Generation, facts: Facts, choice: str) -> Event:
    """The event of one choice; ``choice`` is what its names end in, such as ``#1``."""
    aliases = tuple(f"{name}{choice}" for name in facts.traced)
    embedding = np.frombuffer(facts.embedding, dtype="<f4") if facts.embedding else None
    made = uniquely_named(replace(generation, aliases=aliases, embedding=embedding), facts.key)
    return Event(f"{facts.key}{choice}".encode(), encode_generation(made))


def ids_of(names: Sequence[Hashable]) -> Int64s | None:
    """The ids of tokens; None where a token has only a text."""
    return np.array(names, dtype=np.int64) if names and all(isinstance(name, int) for name in names) else None


def halves(values: Floats | None) -> Halves:
    """The values as float16; none where there are none."""
    if values is None:
        return np.empty((0, 0), dtype=np.float16)
    with np.errstate(over="ignore"):
        return values.astype(np.float16)
