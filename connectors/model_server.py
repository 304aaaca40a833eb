"""A model server as its client sees it: one request and its answer, within bounds of time and size, and with patience.

A redirect is an answer like any other and is never followed, because the key would go with it to another server. The
key is in no text made here. Proxies of the environment are not used.
"""

from __future__ import annotations

import email.utils
import http.client
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from driftgauge.connectors.base import ConnectorError

CHAT = "/v1/chat/completions"
MAX_ANSWER_BYTES = 16 << 20
"""Largest answer that is read; the rest of a larger one is left out."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Seconds before a request is sent again; each wait is twice as long as the one before."""


class Reply(NamedTuple):
    """The answer of a server; ``status`` 0 and an explanation as ``body`` where there is none.

    ``retry_after_s`` is the wait that the server asks for; None where it asks for none.
    """

    status: int
    body: bytes
    retry_after_s: float | None = None

    @property
    def may_succeed_later(self) -> bool:
        """Whether the same request may succeed later: there was no answer, or the server is busy or broken."""
        return self.status in (0, 408, 429) or self.status >= 500


@dataclass(frozen=True)
class ModelServer:
    """A model server. An API key is in no text made from it.

    Parameters
    ----------
    address : ``http://host:port``; a path in it is put before that of each request
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
        try:
            with closing(self._connection()) as connection:
                connection.connect()
                connection.sock.settimeout(self.timeout_s)
                deadline = time.monotonic() + self.timeout_s
                connection.request(method, urlsplit(self.address).path.rstrip("/") + path, body, headers)
                response = connection.getresponse()
                wait_s = _wait_asked_for(response.getheader("retry-after"), time.time())
                return Reply(response.status, _body(response, deadline), wait_s)
        except (OSError, http.client.HTTPException) as error:
            return Reply(0, (getattr(error, "strerror", None) or type(error).__name__).encode())
        except ValueError:  # its text quotes the header
            return Reply(0, b"the API key has characters that no header can have")

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.address)
        host, timeout_s = parts.hostname or "", self.connect_timeout_s
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        tls = ssl.create_default_context(cafile=self.cafile or None)
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=tls)

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


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body up to the bound; raises `TimeoutError` where a server sends it too slowly."""
    parts, n_bytes = list[bytes](), 0
    while n_bytes < MAX_ANSWER_BYTES and (part := response.read1(min(1 << 16, MAX_ANSWER_BYTES - n_bytes))):
        parts.append(part)
        n_bytes += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError(None, "timed out")
    return b"".join(parts)


def _wait_asked_for(header: str | None, now: float) -> float | None:
    """Seconds in a header ``retry-after``, which has seconds or a date; None where it has neither."""
    if header is None:
        return None
    if header.strip().isdecimal() and header.isascii():
        return float(header)
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None


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
