"""Log-probabilities out of an answer again, in a stream line by line or in a body as a whole.

What cannot be read goes to the client as it came: to send a log-probability too many is better than to break a stream.
"""

from __future__ import annotations

from collections.abc import Sequence

from driftgauge.agent.gateway.wire.answers import ERRORS, decoder_of, edits_of, is_unasked_for
from driftgauge.agent.gateway.wire.data_lines import LINE_ENDS, joined, outside, value_at
from driftgauge.agent.gateway.wire.plan import Api
from driftgauge.agent.gateway.wire.splice import Edit, spliced
from driftgauge.agent.gateway.wire.stream import StreamCollector

MAX_DOCUMENT_BYTES = 8 * 2**20
"""The longest line or body that is read: reading takes a millisecond per MB, in which no other stream moves."""

_DONE = b"[DONE]"


class StreamStrip:
    """Server-sent events on their way to the client.

    A line that is a document goes on at once. A ``data`` line that is none waits for the others of its event, and is
    read together with them. An unfinished line waits for its end, and CR for the LF that may follow. From a line of
    more than ``max_line_bytes`` on, the stream is passed unread; lines that wait for their event pass unread beyond it.

    A chunk that the upstream sends only because it was asked is left out, with its event.

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
        self._held: list[bytes] = []
        self._n_held = 0
        self._has_begun = False
        self._is_left_out = False
        self.stripped_bytes = 0
        self.unreadable_lines = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from upstream; return those for the client."""
        if self._is_passing:
            return data
        stripped = self._stripped(data)
        return stripped if self._takes_out else data

    def end(self) -> bytes:
        """The upstream has ended the stream; return what the client still needs."""
        line = self._take_waiting()
        stripped = (self._line(line) if line else b"") + self._release()
        return stripped if self._takes_out else b""

    def _stripped(self, data: bytes) -> bytes:
        if b"\n" not in data and b"\r" not in data:
            return self._wait(data)
        if self._waiting:
            data = self._take_waiting() + data
        lines = data.splitlines(keepends=True)
        unfinished = b"" if lines[-1].endswith(b"\n") else lines.pop()
        out = b"".join([self._line(line) for line in lines])
        return out + self._wait(unfinished) if unfinished else out

    def _wait(self, data: bytes) -> bytes:
        self._waiting.append(data)
        self._n_waiting += len(data)
        if self._n_waiting <= self._max_line_bytes:
            return b""
        self._is_passing = True
        self._collector.fail("too_large")
        return self._take_held() + self._take_waiting()

    def _take_waiting(self) -> bytes:
        waiting = b"".join(self._waiting)
        self._waiting, self._n_waiting = [], 0
        return waiting

    def _line(self, line: bytes) -> bytes:
        """One line with its end, as it goes to the client now."""
        if line in LINE_ENDS:
            return self._end_event(line)
        at = value_at(line)
        # the order of different fields of an event means nothing, so that others need not wait
        out = line if not at else self._hold(line) if self._held else self._value(line, at)
        if out and line[:1] != b":":  # a comment belongs to no event
            self._has_begun, self._is_left_out = True, False
        return out

    def _end_event(self, line: bytes) -> bytes:
        self._has_begun = False
        if not self._held and not self._is_left_out:  # the usual case
            return line
        out = self._release()
        is_left_out, self._is_left_out, self._has_begun = self._is_left_out, False, False
        return b"" if is_left_out and not out else out + line

    def _value(self, line: bytes, at: int, *, is_last_try: bool = False) -> bytes:
        """A ``data`` line whose value begins there; where it is no document it waits, or passes at the last try."""
        value = line[at:]
        if value[:1] != b"{" and value.strip() in (b"", _DONE):
            return line
        try:
            found = self._document(value)
        except Exception as error:  # whatever happens here, the client gets its line
            is_unreadable = isinstance(error, ERRORS)
            if is_unreadable and not is_last_try:
                return self._hold(line)
            self.unreadable_lines += 1
            self._collector.fail("unreadable" if is_unreadable else "internal_error")
            return line
        return line[:at] + found[0] if found else b""

    def _document(self, document: bytes) -> tuple[bytes, Sequence[Edit]] | None:
        """A document without log-probabilities, and the edits that took them out; None where it is left out."""
        answer = self._decode(document)
        edits = edits_of(answer, document, omits_key=self._omits_key)
        stripped = spliced(document, edits) if edits else document
        self._collector.take(answer, stripped)
        self.stripped_bytes += len(document) - len(stripped)
        if edits and not self._has_begun and is_unasked_for(answer, stripped):
            self._is_left_out = True
            return None
        return stripped, edits

    def _hold(self, line: bytes) -> bytes:
        """Keep a ``data`` line until its event ends."""
        self._held.append(line)
        self._n_held += len(line)
        if self._n_held <= self._max_line_bytes:
            return b""
        self._collector.fail("too_large")
        return self._take_held()

    def _take_held(self) -> bytes:
        held = b"".join(self._held)
        self._held, self._n_held = [], 0
        return held

    def _release(self) -> bytes:
        """The lines that waited for the end of their event: one document together, or each by itself."""
        if not self._held:
            return b""
        held, self._held, self._n_held = self._held, [], 0
        try:
            document, breaks = joined(held)
            found = self._document(document)
            return spliced(document, [*found[1], *outside(breaks, found[1])]) if found else b""
        except Exception:  # tried again line by line, which notes the reason
            return b"".join([self._value(line, value_at(line), is_last_try=True) for line in held])


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
