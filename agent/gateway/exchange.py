"""One request and its answer on their way through a door: what the doors share, without sockets.

A door asks `Capture.open` what to do with a request. It gets an `Exchange`, which has the bytes for the upstream, says
how the answer is to be read, and gives the bytes for the client. No method of an `Exchange` raises an error.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from driftgauge.agent.gateway.breaker import Breaker, Outcome
from driftgauge.agent.gateway.metrics import Counts
from driftgauge.agent.gateway.naming import Naming
from driftgauge.agent.gateway.naming import Request as NamedRequest
from driftgauge.agent.gateway.wire.collect import Collected, Facts, encode_task
from driftgauge.agent.gateway.wire.plan import Api, Kind, Request, kind_of, read_request, rewrite
from driftgauge.agent.gateway.wire.stream import Memory, StreamCollector
from driftgauge.agent.gateway.wire.strip import StreamStrip, strip_body
from driftgauge.connectors.decoding.formats.payload import RequestParameters
from driftgauge.connectors.decoding.naming import traced

log = logging.getLogger(__name__)

CAPTURE_HEADER = "driftgauge-capture"
"""Request header: ``always`` and ``never`` overrule sampling. It is not sent upstream."""

ID_HEADER = "x-driftgauge-response-id"
"""Response header with a further id of the response, for labels."""

Reading: TypeAlias = Literal["stream", "body", "passed"]

REFUSALS = (400, 422)
_ANY = "*"


@dataclass(frozen=True)
class CaptureRules:
    """What is captured.

    Attributes
    ----------
    models : models that may be asked; ``*``: all
    endpoints : whose answers are read
    omits_key : endpoints of which the upstream leaves out the field ``logprobs`` when nobody asks
    k : alternatives a token that are asked for
    sampling, domain_sampling : share of the requests that are asked
    parameters : model revision and ``logprobs_mode``, where they are known
    keep_text, keep_token_ids : whether events contain the text of answers, and the ids of its tokens
    max_body_bytes, max_line_bytes, max_tokens : beyond them an answer passes, or goes on, without an event
    """

    models: frozenset[str] = frozenset()
    endpoints: frozenset[Api] = frozenset({"chat", "completions", "responses"})
    omits_key: frozenset[Api] = frozenset()
    k: int = 5
    sampling: float = 1.0
    domain_sampling: Mapping[str, float] = field(default_factory=dict)
    parameters: RequestParameters = field(default_factory=RequestParameters)
    keep_text: bool = False
    keep_token_ids: bool = False
    max_body_bytes: int = 8 * 2**20
    max_line_bytes: int = 8 * 2**20
    max_tokens: int = 20_000


@dataclass(frozen=True)
class Capture:
    """The parts that all requests of a worker share.

    Attributes
    ----------
    put : takes key and value of an event
    put_body : takes a whole answer that another process makes events of
    memory : bound on what open streams hold
    now, monotonic : UTC seconds; seconds of a clock that never goes back
    drawn : a random number from 0 to 1
    """

    rules: CaptureRules
    naming: Naming
    breaker: Breaker
    counts: Counts
    memory: Memory
    put: Callable[[bytes, bytes], object]
    put_body: Callable[[bytes], object]
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    drawn: Callable[[], float] = random.random

    def open(self, api: Api, named: NamedRequest) -> Exchange | None:
        """The exchange of a request to an endpoint that is read; None where it is passed on as it is.

        Its headers are without credentials only where `Naming` says so; none is kept.
        """
        try:
            return self._open(api, named)
        except Exception:
            self._failed()
            return None

    def _open(self, api: Api, named: NamedRequest) -> Exchange | None:
        wish = named.headers.get(CAPTURE_HEADER, "").lower()
        if api not in self.rules.endpoints or wish == "never":
            self._passed("never" if wish == "never" else "endpoint")
            return None
        try:
            request = read_request(api, named.body)
        except ValueError:
            self._passed("not_json")
            return None
        if request.refusal:
            self._passed(request.refusal)
            return None
        names = self.naming.names(replace(named, model=request.combination.model))
        if names.problem:
            self.counts.names[names.problem] += 1
        started = self.monotonic()
        reason = "" if request.asks else self._why_not(request, names.domain, wish, started)
        kind = kind_of(request, may_ask=not reason)
        if kind == "passed":
            self._passed(reason)
            return Exchange(self, request, kind, None, started)
        self.counts.requests[kind] += 1
        asked = RequestParameters(k=self.rules.k) if kind == "captured" else RequestParameters()
        facts = Facts(
            key=f"gw-{secrets.token_hex(12)}",
            api=api,
            received=self.now(),
            domain=names.domain,
            slices=names.slices,
            embedding=names.embedding,
            traced=traced(named.headers.get("traceparent", "")),
            parameters=self.rules.parameters.updated(request.parameters).updated(asked),
            keep_text=self.rules.keep_text,
            keep_token_ids=self.rules.keep_token_ids,
        )
        return Exchange(self, request, kind, facts, started)

    def _why_not(self, request: Request, domain: str, wish: str, now: float) -> str:
        """Why a request may not be asked; empty where it may."""
        rules, combination = self.rules, request.combination
        if _ANY not in rules.models and combination.model not in rules.models:
            return "model"
        share = rules.domain_sampling.get(domain, rules.sampling)
        if wish != "always" and self.drawn() >= share:
            return "not_sampled"
        return "" if self.breaker.may_ask(combination, now=now) else "paused"

    def _passed(self, reason: str) -> None:
        self.counts.requests["passed"] += 1
        self.counts.passed[reason] += 1

    def _failed(self) -> None:
        self.counts.errors += 1
        log.exception("a request is passed on after an internal error")


class Exchange:
    """One request to an endpoint that is read.

    Parameters
    ----------
    facts : None where the request is passed; then only whether it failed is noted

    Attributes
    ----------
    body : what goes upstream
    """

    def __init__(self, capture: Capture, request: Request, kind: Kind, facts: Facts | None, started: float) -> None:
        self.kind = kind
        self.body = rewrite(request, capture.rules.k) if kind == "captured" else request.body
        self._capture = capture
        self._request = request
        self._facts = facts
        self._started = started
        self._was_refused = False
        self._is_settled = False
        self._is_over = False
        self._strip: StreamStrip | None = None
        self._collector: StreamCollector | None = None
        self._parts: list[bytes] | None = None
        self._n_parts = 0
        self._n_held = 0

    @property
    def response_id(self) -> str:
        """The further id of the response; empty where it is passed."""
        return self._facts.key if self._facts else ""

    @property
    def takes_out(self) -> bool:
        """Whether the answer has other bytes for the client than from upstream."""
        return self.kind == "captured"

    def is_refused(self, status: int) -> bool:
        """Whether the upstream refused to be asked, so that the client's own `body` is to be sent, once."""
        if self.kind != "captured" or status not in REFUSALS:
            return False
        self._capture.counts.sent_again += 1
        self.kind, self.body, self._was_refused = "passed", self._request.body, True
        return True

    def begin(self, status: int, content_type: str, content_encoding: str) -> Reading:
        """How the answer is to be read, by its head."""
        if self._was_refused and status < min(REFUSALS):
            self._settle("refused")
        if self.kind == "passed" or self._facts is None:
            self._settle_passed(failed=status >= 500)
            return "passed"
        if status >= 500:
            self._settle("failed")
            return self._lose("error_status")
        if status != 200:
            self._is_settled = True  # the client's own mistake: it says nothing about asking
            return self._lose("error_status")
        kind = content_type.partition(";")[0].strip().lower()
        if content_encoding.strip().lower() not in ("", "identity"):
            self._settle("not_got")
            return self._lose("compressed")
        if kind == "text/event-stream":
            return self._begin_stream(self._facts)
        if kind == "application/json":
            self._parts = []
            return "body"
        self._settle("not_got")
        return self._lose("content_type")

    def _begin_stream(self, facts: Facts) -> Reading:
        rules = self._capture.rules
        self._collector = StreamCollector(facts, self._capture.memory, max_tokens=rules.max_tokens)
        self._strip = StreamStrip(
            facts.api,
            self._collector,
            takes_out=self.takes_out,
            omits_key=facts.api in rules.omits_key,
            max_line_bytes=rules.max_line_bytes,
        )
        return "stream"

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from upstream; return those for the client."""
        if self._strip is not None:
            return self._strip.feed(data)
        if self._parts is None:
            return data
        self._parts.append(data)
        self._n_parts += len(data)
        fits = self._n_parts <= self._capture.rules.max_body_bytes
        if fits and self._capture.memory.take(len(data)):
            self._n_held += len(data)
            return b"" if self.takes_out else data
        held = b"".join(self._parts)
        self._parts = None
        self._lose("memory" if fits else "too_large")
        return held if self.takes_out else data

    def end(self) -> bytes:
        """The upstream has ended the answer properly: the events go out. Returns what the client still needs."""
        try:
            if self._strip is not None:
                return self._end_stream(self._strip)
            return self._end_body() if self._parts is not None else b""
        finally:
            self._close()

    def _end_stream(self, strip: StreamStrip) -> bytes:
        rest = strip.end()
        self._collect(strip)
        return rest

    def _collect(self, strip: StreamStrip) -> None:
        counts = self._capture.counts
        counts.stripped_bytes += strip.stripped_bytes
        counts.unreadable_lines += strip.unreadable_lines
        assert self._collector is not None  # noqa: S101 - made with the strip
        found = self._collector.finish()
        self._settle("got" if self._collector.n_tokens else "not_got")
        self._publish(found)

    def _end_body(self) -> bytes:
        body = b"".join(self._parts or ())
        self._parts = None
        assert self._facts is not None  # noqa: S101 - bodies are kept only with them
        omits_key = self._facts.api in self._capture.rules.omits_key
        try:
            stripped = strip_body(self._facts.api, body, omits_key=omits_key)
        except Exception:  # whatever happens here, the client gets its answer
            self._settle("not_got")
            self._lose("unreadable")
            return body if self.takes_out else b""
        if stripped == body:
            self._settle("not_got")
            self._lose("no_logprobs")
        else:
            self._settle("got")
            self._capture.counts.stripped_bytes += (len(body) - len(stripped)) * self.takes_out
            self._capture.put_body(encode_task(self._facts, body))
        return stripped if self.takes_out else b""

    def _publish(self, found: Collected) -> None:
        for event in found.events:
            self._capture.put(event.key, event.value)
        self._capture.counts.lost.update(found.dropped)

    def fail(self, reason: str) -> None:
        """The answer was cut off: ``client_gone``, ``upstream_broken``, or there was none: ``no_answer``.

        Many clients leave at ``[DONE]`` or at the reason of the end: choices that have ended are whole all the same.
        """
        if self._is_over:
            return
        if reason == "no_answer":
            self._settle("failed")
            self._settle_passed(failed=True)
        if self._strip is not None and self._collector is not None and self._collector.has_end:
            self._collect(self._strip)
        elif self._facts is not None and self.kind != "passed":
            self._lose(reason)
        self._close()

    def _lose(self, reason: str) -> Literal["passed"]:
        self._capture.counts.lost[reason] += 1
        return "passed"

    def _close(self) -> None:
        self._is_over = True
        self._capture.memory.give_back(self._n_held)
        self._n_held = 0
        if self._collector is not None:
            self._collector.close()

    def _settle(self, outcome: Outcome) -> None:
        """Note once how the upstream took being asked."""
        if self._is_settled or not (self.kind == "captured" or self._was_refused):
            return
        self._is_settled = True
        capture = self._capture
        capture.counts.asked[outcome] += 1
        now = capture.monotonic()
        capture.breaker.note(self._request.combination, outcome, asked_at=self._started, now=now)

    def _settle_passed(self, *, failed: bool) -> None:
        if self.kind == "passed" and not self._is_settled:
            self._is_settled = True
            self._capture.breaker.note_unasked(self._request.combination, failed=failed)
