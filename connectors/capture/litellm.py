"""LiteLLM's answers: a logger for ``litellm.callbacks``, in a program or in LiteLLM's proxy.

It sees whole answers. The logging payload of a streamed answer has no log-probabilities: LiteLLM drops them when it
puts the stream together. For streams, docs/capture.md shows another way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from driftgauge.connectors.capture.answers import encoded
from driftgauge.connectors.capture.tap import Tap
from driftgauge.connectors.decoding.formats.payload import domain_of, field_of

_FIELDS = (
    "id", "call_type", "model", "model_parameters", "startTime", "endTime", "status", "metadata", "response",
)  # fmt: skip
"""Of a `StandardLoggingPayload`, what the agent reads: not the messages."""


def event_logger(tap: Tap) -> Any:
    """A ``CustomLogger`` of LiteLLM whose tap takes the answer of each successful call, sync or async."""
    from litellm.integrations.custom_logger import CustomLogger  # pyright: ignore[reportMissingImports] - not a dependency

    class EventLogger(CustomLogger):  # type: ignore[misc, unused-ignore]
        """Hands LiteLLM's logging payloads to a tap."""

        def log_success_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
            """Take the answer of a sync call."""
            take(tap, kwargs)

        async def async_log_success_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
            """Take the answer of an async call."""
            take(tap, kwargs)

    return EventLogger()


def take(tap: Tap, details: Mapping[str, Any]) -> None:
    """Let a tap take the payload in what LiteLLM says of a call; a chunk of a stream has none.

    >>> answer = {"choices": [{"message": {}, "finish_reason": "stop", "logprobs": {"content": [{"logprob": -0.5}]}}]}
    >>> payload = {"id": "r-1", "call_type": "completion", "model_parameters": {"top_logprobs": 1}, "response": answer}
    >>> take(Tap(lambda key, value: print(key)), {"standard_logging_object": payload})
    b'r-1'
    """
    payload = details.get("standard_logging_object")
    if payload:
        metadata = field_of(details.get("litellm_params"), "metadata")  # the payload holds only keys that LiteLLM knows
        domain = domain_of(metadata) or ""
        tap.take(lambda: encoded(payload, _FIELDS), time.time(), domain=domain)
