"""Payloads by HTTP: ``POST /v1/events`` takes what LiteLLM's ``generic_api`` callback posts.

A request holds one payload, an array, or lines of some. It is queued for the process that parses whole answers, so
that no stream waits for it; what a payload holds is found out there, and counted with the answers.
"""

from __future__ import annotations

from collections.abc import Callable

from driftgauge.agent.gateway.door import Answer, refusal, refused
from driftgauge.agent.gateway.wire.collect import Posted, encode_task


class EventsDoor:
    """Hands the payloads of a request to ``put``.

    Parameters
    ----------
    put : takes a task of the parser; False when it cannot
    token : what clients send as ``Authorization: Bearer <token>``; at least one character
    keep_text : whether events contain the text of answers

    Examples
    --------
    >>> door = EventsDoor(lambda task: True, token="secret", max_bytes=1 << 20)
    >>> door.answer("Bearer secret", b'[{"id": "r-1", "response": {}}]', now=1767607200.0)
    Answer(status=202, body=b'{"queued":true}', outcome='queued')
    >>> door.answer("Bearer wrong", b"[]", now=0.0).status
    401
    """

    path = "/v1/events"
    kind = "events"

    def __init__(self, put: Callable[[bytes], bool], *, token: str, max_bytes: int, keep_text: bool = False) -> None:
        if not token:
            raise ValueError("the door needs a token")
        self._put, self._token, self._keep_text = put, token.encode(), keep_text
        self.max_bytes = max_bytes

    def answer(self, authorization: str, body: bytes, *, now: float) -> Answer:
        """Answer a request."""
        if answer := refused(
            authorization, body, token=self._token, setting="gateway.events_token", max_bytes=self.max_bytes
        ):
            return answer
        if not self._put(encode_task(Posted(now, self._keep_text), body)):
            return refusal(503, "parser_full", "payloads cannot be queued now; send the request again")
        return Answer(202, b'{"queued":true}', "queued")
