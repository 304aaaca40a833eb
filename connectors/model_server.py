"""A model server as its client sees it: one request and its answer, and patience.

`connectors.http_exchange` has the bounds of a request. The key is in no text made here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec

from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.http_exchange import Reply, exchange

CHAT = "/v1/chat/completions"
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Seconds before a request is sent again; each wait is twice as long as the one before."""

_VERSION = re.compile(r"(?<=[^/])/v1\Z")


@dataclass(frozen=True)
class ModelServer:
    """A model server. An API key is in no text made from it.

    Parameters
    ----------
    address : ``http://host:port``; see `url_of`
    timeout_s : seconds that an answer may take

    Raises
    ------
    ConnectorError
        `models` raises it when the server does not answer as one of its kind.
    """

    address: str
    api_key: str = field(default="", repr=False)
    cafile: str = ""
    connect_timeout_s: float = 5.0
    timeout_s: float = 120.0
    headers: Mapping[str, str] = field(default_factory=dict)

    def exchange(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Send a request and read its answer. Raises no error."""
        headers = {**self.headers, "content-type": "application/json", "accept-encoding": "identity"}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        return exchange(
            method, url_of(self.address, path), body, headers,
            timeout_s=self.timeout_s, connect_timeout_s=self.connect_timeout_s, cafile=self.cafile,
        )  # fmt: skip

    def models(self) -> list[str]:
        """The models that the server lists."""
        reply = self.exchange("GET", "/v1/models")
        try:
            listed = msgspec.json.decode(reply.body, type=_Models).data if reply.status == 200 else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            listed = None
        if listed is None:
            text = f"{self.address} does not list its models ({shown(reply)}): name one with --model"
            raise ConnectorError(text, retriable=False)
        return [model.id for model in listed]


def url_of(address: str, target: str) -> str:
    """Where a request goes: a path in the address of the server is put before the target.

    An address may end in ``/v1``, as that of client libraries does, though the target begins with it, too.

    >>> url_of("http://host:8000/", "/v1/models"), url_of("http://host/api/v1", "/v1/models?a=1")
    ('http://host:8000/v1/models', 'http://host/api/v1/models?a=1')
    >>> url_of("http://host/v1", "/health"), url_of("http://v1", "/v1/models")
    ('http://host/v1/health', 'http://v1/v1/models')
    """
    base = address.rstrip("/")
    return (_VERSION.sub("", base) if target.startswith("/v1/") else base) + target


def patient_exchange(send: Callable[[], Reply], pause: Callable[[float], bool], *, attempts: int = 4) -> Reply:
    """The first answer that is final, or the last one of ``attempts``.

    A server that asks for a longer wait than `LONGEST_WAIT_S` is not waited for.

    Parameters
    ----------
    send : sends the request
    pause : waits these seconds; returns True when there is to be no further attempt

    Examples
    --------
    >>> replies, waits = iter([Reply(429, b"", 3.0), Reply(503, b""), Reply(200, b"{}")]), []
    >>> patient_exchange(lambda: next(replies), lambda wait_s: bool(waits.append(wait_s))).status, waits
    (200, [3.0, 2.0])
    """
    wait_s = FIRST_WAIT_S
    for _ in range(attempts - 1):
        reply = send()
        asked_s = wait_s if reply.retry_after_s is None else reply.retry_after_s
        if not reply.may_succeed_later or asked_s > LONGEST_WAIT_S or pause(asked_s):
            return reply
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    return send()


class ChatAnswer(NamedTuple):
    """What an answer of the chat endpoint says; the counts of tokens are None where it has none."""

    text: str
    n_prompt_tokens: int | None
    n_completion_tokens: int | None


def chat_body(model: str, messages: Iterable[tuple[str, str]], **parameters: Any) -> bytes:
    """A chat request: pairs of role and content, and further fields.

    >>> chat_body("m", [("user", "Hi")], max_tokens=5)
    b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":5}'
    """
    said = [{"role": role, "content": content} for role, content in messages]
    return msgspec.json.encode({"model": model, "messages": said, **parameters})


def read_chat_answer(body: bytes) -> ChatAnswer | None:
    """The text of the first choice, and the token counts; None where the body is no such answer."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not answer.choices:
        return None
    usage = answer.usage or _Usage()
    return ChatAnswer(answer.choices[0].message.content or "", usage.prompt_tokens, usage.completion_tokens)


def shown(reply: Reply) -> str:
    """Status and the beginning of an answer to a request of ours, in which nothing is secret, on one line."""
    text = " ".join(reply.body[:300].decode("utf-8", "replace").split())
    printable = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return f"{reply.status}: {printable}" if reply.status else f"no answer ({printable})"


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class _Usage(msgspec.Struct):
    prompt_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    completion_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
