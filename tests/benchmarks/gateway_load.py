"""Load for the gateway's benchmark: a model server and its clients in one event loop, on one core.

*Lockstep*: the server sends the next chunk of a stream when the client has the last one, so that chunks cannot pile up.
Otherwise a slow gateway reads ten chunks at once, and looks ten times as fast.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

N_TOKENS_OF_BODY = 500
_STAMP = re.compile(rb'"stamp":(\d+)')
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n"
_REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
)
_DONE = b"data: [DONE]\n\n"


def _entries(k: int, n: int = 1) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    rows = np.log(np.sort(rng.dirichlet(np.full(k, 0.3), size=n))[:, ::-1] + 1e-9).tolist()
    listed = [
        [{"token": f" tok{i:02}", "logprob": x, "bytes": [32, 116, 111]} for i, x in enumerate(row)] for row in rows
    ]
    return [{**each[0], "top_logprobs": each} for each in listed]


def _json(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def chunk_of(k: int) -> tuple[bytes, bytes]:
    """A chunk of chat with the log-probabilities of one token, before and after the place of its stamp."""
    choice = {"index": 0, "delta": {"content": " tok00"}, "logprobs": {"content": _entries(k)}, "finish_reason": None}
    head = {"id": "chatcmpl-0123456789", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "m"}
    before, after = _json({**head, "choices": [choice], "stamp": 0}).rsplit(b"0", 1)
    return b"data: " + before, after + b"\n\n"


def body_of(k: int, n_tokens: int = N_TOKENS_OF_BODY) -> bytes:
    """A whole answer."""
    message = {"role": "assistant", "content": " tok00" * n_tokens}
    choice = {"index": 0, "message": message, "logprobs": {"content": _entries(k, n_tokens)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": n_tokens, "total_tokens": n_tokens + 9}
    head = {"id": "chatcmpl-0123456789", "object": "chat.completion", "created": 1_760_000_000, "model": "m"}
    return _json({**head, "choices": [choice], "usage": usage})


_END = {"id": "chatcmpl-0123456789", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@dataclass
class Load:
    """A server that answers with log-probabilities whether it is asked or not, so that all runs carry the same bytes.

    Attributes
    ----------
    late_s : seconds from sending a chunk to its receipt by the client, for each chunk of the streams so far
    n_reads : reads of a client in which chunks came
    """

    k: int = 20
    pace_s: float = 0.0
    late_s: list[float] = field(default_factory=list)
    n_reads: int = 0

    def __post_init__(self) -> None:
        self._before, self._after = chunk_of(self.k)
        self._body = body_of(self.k)
        self._turns: dict[bytes, asyncio.Semaphore] = {}
        self._numbers = itertools.count()
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Give the address of the server."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))  # type: ignore[index]
                stream = re.search(rb"(?i)x-stream: (\w+) (\d+)", head)
                if stream is None:
                    writer.write(_HEAD % (b"application/json", b"Content-Length: %d" % len(self._body)))
                    writer.write(self._body)
                    await writer.drain()
                else:
                    await self._stream(writer, stream[1], int(stream[2]))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter, name: bytes, n_tokens: int) -> None:
        writer.write(_HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked"))
        start = time.perf_counter()
        for number in range(n_tokens):
            if self.pace_s:
                await asyncio.sleep(max(0.0, start + number * self.pace_s - time.perf_counter()))
            else:
                await self._turns[name].acquire()
            self._send(writer, b"%s%d%s" % (self._before, time.perf_counter_ns(), self._after))
        self._send(writer, b"data: " + _json(_END) + b"\n\n" + _DONE)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    @staticmethod
    def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def streams(self, url: str, n_streams: int, n_tokens: int) -> None:
        """Run so many streams at once, to their ends."""
        await asyncio.gather(*(self._client(url, n_tokens) for _ in range(n_streams)))

    async def _client(self, url: str, n_tokens: int) -> None:
        name = b"s%d" % next(self._numbers)
        turn = self._turns[name] = asyncio.Semaphore(1)
        reader, writer = await self._connect(url, b"X-Stream: %s %d\r\n" % (name, n_tokens))
        rest = b""
        while _DONE not in rest:
            data = await reader.read(1 << 16)
            now = time.perf_counter_ns()
            assert data, "the stream broke off"
            rest = rest[-40:] + data
            found = _STAMP.findall(rest, max(0, len(rest) - len(data) - 40))
            for stamp in found:
                self.late_s.append((now - int(stamp)) / 1e9)
                turn.release()
            if found:
                self.n_reads += 1
                rest = rest[rest.rindex(found[-1]) + len(found[-1]) :]
        del self._turns[name]
        writer.close()

    async def _connect(self, url: str, header: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b'{"model":"m","messages":[{"role":"user","content":"?"}],"stream":%s}' % (
            b"true" if header else b"false"
        )
        writer.write(_REQUEST % (header, len(body)) + body)
        return reader, writer

    async def bodies(self, url: str, n: int, *, every_s: float = 0.0) -> None:
        """Ask for whole answers, one after the other."""
        start = time.perf_counter()
        for number in range(n):
            await asyncio.sleep(max(0.0, start + number * every_s - time.perf_counter()))
            reader, writer = await self._connect(url)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))  # type: ignore[index]
            writer.close()
