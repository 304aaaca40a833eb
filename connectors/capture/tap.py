"""A tap: captured answers become events, which are counted and handed on. No failure of it reaches the caller."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from driftgauge.connectors.capture.answers import in_context, requested_context, responses_in
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.event_maker import Limits
from driftgauge.connectors.decoding.formats.openai import requested
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.decoding.formats.payload import domain_of
from driftgauge.models.events import Context, Generation

log = logging.getLogger(__name__)

Publish: TypeAlias = Callable[[bytes, bytes], object]
"""Takes key and value of an event; the value is MessagePack. Returns False where it was dropped; must not block."""

_NO_CONTEXT = Context()
_REQUEST = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FIELDS = ("logprobs", "top_logprobs", "temperature", "top_p", "metadata")


class Tap:
    """Makes events of answers and hands them to ``publish``.

    Parameters
    ----------
    publish : such as the ``put`` of an outbox; see `Publish`
    domain : of answers that name none; empty: the agent's default domain
    context : what the answers do not state, such as the revision of the model
    keep_text : whether events contain the text of the answer
    max_bytes : largest answer that is read; a larger one gives no event (``too_large``)

    Attributes
    ----------
    counts : choices of answers by what became of them: ``published``, or why there is no event

    Examples
    --------
    >>> events = []
    >>> tap = Tap(lambda key, value: events.append(key))
    >>> logprobs = '"logprobs": {"content": [{"logprob": -0.5}]}, "finish_reason": "stop"'
    >>> answer = '{"id": "r-1", "object": "chat.completion", "choices": [{%s}]}' % logprobs
    >>> tap.take(answer.encode(), received=1.76e9)
    >>> tap.take(answer.replace(logprobs, "").encode(), received=1.76e9)
    >>> events, tap.counts
    ([b'r-1'], Counter({'published': 1, 'no_logprobs': 1}))
    """

    def __init__(
        self,
        publish: Publish,
        *,
        domain: str = "",
        context: Context = _NO_CONTEXT,
        keep_text: bool = False,
        max_bytes: int = 16 * 2**20,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._publish, self._domain, self._context = publish, domain, context
        self.max_bytes = max_bytes
        self._decoder = Decoder(default_domain="", keep_text=keep_text, limits=Limits(max_bytes))
        self._lock = threading.Lock()

    def take(
        self, answer: bytes | Callable[[], bytes], received: float, *, request: bytes = b"{}", domain: str = ""
    ) -> None:
        """Make events of the bytes of an answer; its request tells k and the sampler, and may name the domain.

        Parameters
        ----------
        answer : a body or a whole stream, in any format that the agent reads; or what gives it
        received : UTC seconds; the event time of answers that have none
        request : the JSON body of the request
        domain : goes before that of the answer
        """
        try:
            answer = answer() if callable(answer) else answer
            if b"prob" not in answer:  # a part of the field's name in every format; looking costs less than reading
                self.count({"no_logprobs": 1})
                return
            found, dropped = responses_in(self._decoder, answer, received)
            self.count(dropped)
            context, named = _stated_by(request)
            self.put(_named(in_context(generation, context), domain or named) for generation in found)
        except Exception as error:
            self._failed(error)

    def put(self, generations: Iterable[Generation]) -> None:
        """Publish these responses, with domain and context where they lack them."""
        try:
            for generation in generations:
                whole = in_context(generation, self._context)
                whole = replace(whole, domain=whole.domain or self._domain)
                taken = self._publish(whole.id.encode(), encode_generation(whole))
                self.count({"refused" if taken is False else "published": 1})
        except Exception as error:
            self._failed(error)

    def count(self, outcomes: dict[str, int]) -> None:
        """Add to `counts`, from any thread."""
        with self._lock:
            self.counts.update(outcomes)

    def _failed(self, error: Exception) -> None:
        """An error of ours, or of ``publish``: the caller's answer must not suffer. The log never quotes an answer."""
        self.count({"failed": 1})
        if self.counts["failed"] == 1:
            log.warning("an answer gave no event: %s; further ones are only counted", type(error).__name__)


def _named(generation: Generation, domain: str) -> Generation:
    return replace(generation, domain=domain) if domain else generation


def _stated_by(request: bytes) -> tuple[Context, str]:
    """The context and the domain that a request states; messages and prompts are skipped over."""
    try:
        fields = _REQUEST.decode(request)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _NO_CONTEXT, ""
    stated = {name: msgspec.json.decode(fields[name]) for name in _FIELDS if name in fields}
    return requested_context(requested(stated)), domain_of(stated.get("metadata")) or ""
