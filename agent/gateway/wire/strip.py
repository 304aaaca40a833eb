"""Log-probabilities out of an answer again, in a stream line by line or in a body as a whole.

A line that cannot be read goes to the client as it came: to send a log-probability too many is better than to break a
stream.
"""

from __future__ import annotations

from driftgauge.agent.gateway.wire.answers import ERRORS, decoder_of, edits_of
from driftgauge.agent.gateway.wire.plan import Api
from driftgauge.agent.gateway.wire.splice import spliced
from driftgauge.agent.gateway.wire.stream import StreamCollector

MAX_DOCUMENT_BYTES = 8 * 2**20
"""The longest line or body that is read: reading takes a millisecond per MB, in which no other stream moves."""

_DATA = b"data: "
_BOM = b"\xef\xbb\xbf"
_DONE = b"[DONE]"


class StreamStrip:
    """Server-sent events on their way to the client.

    It reads lines, so line ends, comments and other fields than ``data`` need no rules. An unfinished line waits for
    its end; from a line of more than ``max_line_bytes`` on, the stream is passed unread.

    Parameters
    ----------
    takes_out : the log-probabilities are ours and leave the stream; otherwise every byte stays
    omits_key : see `driftgauge.agent.gateway.wire.answers.edits_of`

    Attributes
    ----------
    stripped_bytes : bytes taken out so far
    unreadable_lines : lines that passed as they came because they could not be read
    """

    def __init__(
        self,
        api: Api,
        collector: StreamCollector,
        *,
        takes_out: bool,
        omits_key: bool = False,
        max_line_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> None:
        self._decode = decoder_of(api)
        self._collector = collector
        self._takes_out = takes_out
        self._omits_key = omits_key
        self._max_line_bytes = max_line_bytes
        self._waiting: list[bytes] = []
        self._n_waiting = 0
        self._is_passing = False
        self.stripped_bytes = 0
        self.unreadable_lines = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from upstream; return those for the client."""
        if self._is_passing:
            return data
        stripped = self._stripped(data)
        return stripped if self._takes_out else data

    def pass_on(self) -> bytes:
        """Read no further; return the unfinished line, which the client still needs."""
        self._is_passing = True
        waiting = self._take_waiting()
        return waiting if self._takes_out else b""

    def end(self) -> bytes:
        """The upstream has ended the stream; return what the client still needs."""
        line = self._take_waiting()
        stripped = self._line(line) if line else b""
        return stripped if self._takes_out else b""

    def _stripped(self, data: bytes) -> bytes:
        if b"\n" not in data and b"\r" not in data:
            return self._wait(data)
        if self._waiting:
            data = self._take_waiting() + data
        lines = data.splitlines(keepends=True)
        unfinished = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        out = b"".join([self._line(line) if len(line) > len(_DATA) else line for line in lines])
        return out + self._wait(unfinished) if unfinished else out

    def _wait(self, data: bytes) -> bytes:
        self._waiting.append(data)
        self._n_waiting += len(data)
        if self._n_waiting <= self._max_line_bytes:
            return b""
        self._is_passing = True
        self._collector.fail("too_large")
        return self._take_waiting()

    def _take_waiting(self) -> bytes:
        waiting = b"".join(self._waiting)
        self._waiting, self._n_waiting = [], 0
        return waiting

    def _line(self, line: bytes) -> bytes:
        """One line with its end, as it goes to the client."""
        if line[: len(_DATA)] == _DATA:
            at = len(_DATA)
        elif line.startswith((b"data:", _BOM + b"data:")):
            at = line.index(b":") + 1
        else:
            return line
        document = line[at:]
        if document[:1] != b"{" and document.strip() in (b"", _DONE):
            return line
        try:
            answer = self._decode(document)
            edits = edits_of(answer, document, omits_key=self._omits_key)
            if edits:
                document = spliced(document, edits)
            self._collector.take(answer, document)
        except Exception as error:  # whatever happens here, the client gets its line
            self.unreadable_lines += 1
            self._collector.fail("unreadable" if isinstance(error, ERRORS) else "internal_error")
            return line
        if edits:
            self.stripped_bytes += len(line) - at - len(document)
            line = line[:at] + document
        return line


def strip_body(api: Api, body: bytes, *, omits_key: bool = False) -> bytes:
    """A whole body as the client gets it.

    Raises
    ------
    msgspec.DecodeError, UnicodeDecodeError, RecursionError
        For a body that is not an answer in JSON.

    Examples
    --------
    >>> strip_body("chat", b'{"choices": [{"index": 0, "logprobs": {"content": []}}]}')
    b'{"choices": [{"index": 0, "logprobs": null}]}'
    """
    answer = decoder_of(api)(body)
    return spliced(body, edits_of(answer, body, omits_key=omits_key))
