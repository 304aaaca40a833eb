"""What happens to a request: it is *captured* (asked for log-probabilities), *observed* (it asks itself) or *passed*.

Only the top level of a request is read; its messages are skipped over. Every doubt means passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Raw

from driftgauge.agent.gateway.wire.splice import Edit, spliced, start_of
from driftgauge.connectors.decoding.formats.openai import requested
from driftgauge.connectors.decoding.formats.payload import RequestParameters

Api: TypeAlias = Literal["chat", "completions", "responses"]
Kind: TypeAlias = Literal["captured", "observed", "passed"]
Fields: TypeAlias = Mapping[str, Raw]
"""The top level of a request: names, and values that are not decoded yet."""

MAX_K = 20
"""Alternatives that may be asked for: some servers fail beyond it."""

_ROUTES: tuple[tuple[str, Api], ...] = (
    ("/chat/completions", "chat"),
    ("/completions", "completions"),
    ("/responses", "responses"),
)
_INCLUDE = "message.output_text.logprobs"
_NOTHING = (None, False, 0)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])


def api_of(method: str, path: str) -> Api | None:
    """The API that a request calls; None for one that is passed unread.

    >>> api_of("POST", "/v1/chat/completions"), api_of("POST", "/v1/embeddings"), api_of("GET", "/v1/responses")
    ('chat', None, None)
    """
    if method != "POST":
        return None
    return next((api for route, api in _ROUTES if path.endswith(route)), None)


class Combination(NamedTuple):
    """What decides whether an upstream accepts to be asked."""

    model: str
    api: Api
    is_stream: bool
    has_tools: bool
    has_format: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What the top level of a request contains.

    Attributes
    ----------
    parameters : those of the sampler; ``k`` is what the client itself asks for, None where it does not
    refusal : why it must neither be asked nor observed; empty otherwise
    """

    api: Api
    body: bytes
    fields: Fields
    combination: Combination
    parameters: RequestParameters
    refusal: str = ""

    @property
    def asks(self) -> bool:
        """Whether the client itself asks for log-probabilities."""
        return self.parameters.k is not None


def read_request(api: Api, body: bytes) -> Request:
    """Read the top level of a request.

    Raises
    ------
    ValueError
        For what is not one JSON object, and for values of types that no server takes.
    """
    try:
        fields = _FIELDS.decode(body)
        values = {name: msgspec.json.decode(fields[name]) for name in _SCALARS if name in fields}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("the request is not a JSON object") from error
    model = values.get("model")
    parameters = requested({"temperature": values.get("temperature"), "top_p": values.get("top_p")})
    asks, refusal = _asks(api, values)
    parameters.k = asks
    return Request(
        api=api,
        body=body,
        fields=fields,
        combination=Combination(
            model=model if isinstance(model, str) else "",
            api=api,
            is_stream=values.get("stream") is True,
            has_tools=_is_given(fields, "tools") or _is_given(fields, "functions"),
            has_format=_is_given(fields, "response_format") or _is_given(fields, "text"),
        ),
        parameters=parameters,
        refusal=refusal,
    )


_SCALARS = (
    "model", "stream", "temperature", "top_p", "logprobs", "top_logprobs", "include", "echo", "prompt_logprobs",
    "best_of", "use_beam_search", "background",
)  # fmt: skip
_REFUSALS = ("echo", "prompt_logprobs", "best_of", "use_beam_search", "background")
"""Fields with which asking costs more, or with which other log-probabilities than those of one answer come back."""


def _is_given(fields: Fields, name: str) -> bool:
    return name in fields and bytes(fields[name]) not in (b"null", b"[]", b"{}")


def _asks(api: Api, values: Mapping[str, Any]) -> tuple[int | None, str]:
    """The k that the client asks for itself, None where it does not; and why the request is passed."""
    for name in _REFUSALS:
        if values.get(name) not in (None, False) and not (name == "best_of" and values[name] == 1):
            return None, name
    logprobs, k = values.get("logprobs"), values.get("top_logprobs")
    if k is not None and (isinstance(k, bool) or not isinstance(k, int)):
        return None, "top_logprobs"
    if api == "completions":
        if logprobs is None or logprobs is False:
            return (None, "") if k is None else (None, "top_logprobs")
        return (int(logprobs), "") if isinstance(logprobs, int) else (None, "logprobs")
    if api == "chat":
        if logprobs is True:
            return k or 0, ""
        return (None, "") if logprobs in _NOTHING and k in _NOTHING else (None, "logprobs")
    include = values.get("include") or []
    if not isinstance(include, list):
        return None, "include"
    if _INCLUDE in include:
        return k or 0, ""
    return (None, "") if k in _NOTHING else (None, "top_logprobs")


def kind_of(request: Request, *, may_ask: bool) -> Kind:
    """What happens to a request, where ``may_ask`` holds what settings, sampling and refusals of the upstream allow."""
    if request.refusal:
        return "passed"
    if request.asks:
        return "observed"
    return "captured" if may_ask else "passed"


def rewrite(request: Request, k: int) -> bytes:
    """The body of the request with k alternatives asked for, every other byte as it was.

    >>> rewrite(read_request("chat", b'{"model": "m", "logprobs": null}'), 5)
    b'{"top_logprobs":5,"model": "m", "logprobs": true}'
    """
    body, wanted = request.body, _wanted(request, min(k, MAX_K))
    edits, new = [], []
    for name, value in wanted.items():
        raw = request.fields.get(name)
        if raw is None:
            new.append(b'"%s":%s' % (name.encode(), value))
            continue
        span = bytes(raw)
        start = start_of(raw, span, body)
        edits.append(Edit(start, start + len(span), value))
    if new:
        at = body.index(b"{") + 1
        edits.append(Edit(at, at, b",".join(new) + (b"," if request.fields else b"")))
    return spliced(body, edits)


def _wanted(request: Request, k: int) -> dict[str, bytes]:
    number = b"%d" % k
    if request.api == "completions":
        return {"logprobs": number}
    if request.api == "chat":
        return {"logprobs": b"true", "top_logprobs": number}
    include = msgspec.json.decode(request.fields["include"]) if "include" in request.fields else None
    return {"include": msgspec.json.encode([*(include or []), _INCLUDE]), "top_logprobs": number}
