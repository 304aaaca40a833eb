"""What the gateway itself answers and logs: when the model server cannot be reached, and when a request is refused."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger(__name__)

ERROR_HEADER = "x-driftgauge-error"
"""Response header of answers that the gateway itself gives: why."""

LOG_EVERY_S = 60.0

_NOT_OURS = (HttpProcessingError, ConnectionError)
"""Errors that clients and the model server make."""


def refusal(status: int, reason: str, text: str) -> web.Response:
    """An answer of the gateway itself, in the shape of OpenAI's errors."""
    body = json.dumps({"error": {"message": text, "type": "gateway_error", "param": None, "code": reason}})
    return web.Response(
        status=status, body=body.encode(), content_type="application/json", headers={ERROR_HEADER: reason}
    )


class Unreachable:
    """Answers requests while the model server cannot be reached, and logs its problems, each once a minute.

    Parameters
    ----------
    now : seconds of a clock that never goes back
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._logged: dict[str, float] = {}

    def answer(self, error: Exception) -> web.Response:
        """The answer to a request that failed by this error."""
        if isinstance(error, TimeoutError):
            return refusal(504, "upstream_timeout", "the model server did not answer in time")
        # other errors may quote what the server sent
        cause = str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
        self._log(f"cannot be reached: {cause}")
        if isinstance(error, aiohttp.ClientSSLError):
            text = "the model server's certificate is not trusted, or it does not speak TLS: see the gateway's log"
        elif isinstance(error, aiohttp.ClientConnectionResetError):
            text = "the model server closed the connection"
        else:
            text = "the model server cannot be reached"
        return refusal(502, "upstream_unreachable", text)

    def note_broken_off(self, error: Exception) -> None:
        """Note that an answer broke off by this error."""
        self._log(f"breaks off its answers: {type(error).__name__}")

    def _log(self, problem: str) -> None:
        now = self._now()
        if now - self._logged.get(problem, -math.inf) >= LOG_EVERY_S:
            self._logged[problem] = now
            log.warning("the model server %s", problem)


def server_log() -> logging.Logger:
    """Make the log of the HTTP server, without requests that are not HTTP and connections that broke off.

    Clients of the former get a 400 that says why; a log would quote their headers, which may be credentials. The latter
    are everyday events, counted, and no fault of ours that a traceback would explain.
    """
    made = logging.getLogger(f"{__name__}.http")
    if not made.filters:
        made.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], _NOT_OURS)))
    return made
