"""The ``openai`` package's clients, sync and async: every answer with log-probabilities becomes an event.

The bytes of answers are read along while the client reads them, below the client's own methods: whole bodies, streams,
parsed and raw responses are captured alike, and what the caller gets does not change. Log-probabilities come only where
the caller asks for them. An event is made when the answer ends, in the thread that reads it: some milliseconds for 500
tokens with 20 alternatives.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from typing import Any, TypeAlias, TypeVar

from driftgauge.connectors.capture.tap import Tap

Client = TypeVar("Client")
Hook: TypeAlias = Callable[[Any], Any]

DOMAIN_HEADER = "driftgauge-domain"
"""A header of a request that names its domain; it is not sent."""

_ROUTES = ("/chat/completions", "/completions", "/responses")


def capture(client: Client, tap: Tap) -> Client:
    """Let a tap take the answers that a client gets; returns the same client. Its copies are captured too.

    Parameters
    ----------
    client : an ``OpenAI``, an ``AsyncOpenAI`` or one of their Azure forms; or the HTTP client (``httpx``) that one uses
    tap : makes the events; its ``counts`` tell what became of the answers

    Raises
    ------
    TypeError
        For a client of another kind.
    """
    http: Any = client if hasattr(client, "event_hooks") else getattr(client, "_client", None)
    if not hasattr(http, "event_hooks"):
        raise TypeError(f"{type(client).__name__} is no client of the openai package")
    on_request, on_response = _hooks(tap)
    if hasattr(http, "aclose"):
        on_request, on_response = _awaitable(on_request), _awaitable(on_response)
    hooks = http.event_hooks
    http.event_hooks = {"request": [*hooks["request"], on_request], "response": [*hooks["response"], on_response]}
    return client


def _hooks(tap: Tap) -> tuple[Hook, Hook]:
    """What the HTTP client calls before a request is sent, and when the head of its answer is there."""

    def on_request(request: Any) -> None:
        if domain := request.headers.pop(DOMAIN_HEADER, ""):
            request.extensions[DOMAIN_HEADER] = domain

    def on_response(response: Any) -> None:
        if response.status_code == 200 and response.request.url.path.endswith(_ROUTES):
            library = sys.modules[type(response).__module__.partition(".")[0]]  # httpx or its successor
            response.stream = _stream_class(library)(response, tap)

    return on_request, on_response


def _awaitable(hook: Hook) -> Callable[[Any], Awaitable[None]]:
    async def awaitable(message: Any) -> None:
        hook(message)

    return awaitable


class _Body:
    """The bytes of one answer, kept as they pass."""

    def __init__(self, response: Any, tap: Tap) -> None:
        self._response, self._stream, self._tap = response, response.stream, tap
        self._parts: list[bytes] = []
        self._n_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._keep(part)
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._keep(part)
            yield part

    def close(self) -> None:
        """The answer was read to its end, or the caller wants no more of it."""
        self._stream.close()
        self._end()

    async def aclose(self) -> None:
        """The same for an async client."""
        await self._stream.aclose()
        self._end()

    def _keep(self, part: bytes) -> None:
        self._n_bytes += len(part)
        if self._n_bytes <= self._tap.max_bytes:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _end(self) -> None:
        n_bytes, self._n_bytes = self._n_bytes, 0  # a response may be closed twice
        answer = b"".join(self._parts)
        self._parts.clear()
        if n_bytes > self._tap.max_bytes:
            self._tap.count({"too_large": 1})
        elif answer:
            request, response = self._response.request, self._response
            self._tap.take(
                lambda: _decompressed(answer, response),
                time.time(),
                request=request.content,
                domain=request.extensions.get(DOMAIN_HEADER, ""),
            )


@cache
def _stream_class(library: Any) -> type:
    """A stream that the HTTP library accepts, whichever kind of client it has."""
    return type("CapturedStream", (_Body, library.SyncByteStream, library.AsyncByteStream), {})


def _decompressed(answer: bytes, response: Any) -> bytes:
    encoding = response.headers.get("content-encoding", "")
    if not encoding:
        return answer
    return bytes(type(response)(200, headers={"content-encoding": encoding}, content=answer).content)
