"""Outputs of vLLM and SGLang without a server, in the shapes that they have there."""

from __future__ import annotations

import json
from types import SimpleNamespace as Of
from typing import Any

import numpy as np
import pytest

from driftgauge.connectors.base import Record
from driftgauge.connectors.capture import sglang_offline, vllm_offline
from driftgauge.connectors.capture.litellm import take
from driftgauge.connectors.capture.tap import Tap
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.models.events import Context, Generation
from tests.decode.payloads import FOLDER

NIGHTLY: dict[str, Any] = {"run": "nightly", "event_time": 1.76e9, "context": Context("m", k=2, temperature=0.7)}


def position(sampled: int, *logprobs: float) -> dict[int, Of]:
    """vLLM's dictionary: the sampled token first, then the others by rank, their ids from 1 on."""
    listed = {rank: Of(logprob=value, rank=rank) for rank, value in enumerate(logprobs, start=1)}
    return {sampled: listed[sampled], **{token: one for token, one in listed.items() if token < 3}}


def request(number: int, *choices: Any) -> Of:
    return Of(request_id=str(number), outputs=[*choices], prompt_token_ids=[1, 2, 3])


def choice(index: int = 0, finish_reason: str = "stop") -> Of:
    rows = [position(1, -0.5, -1.5, -2.5), position(3, -0.6, -1.4, -2.6)]
    return Of(index=index, token_ids=[1, 3], logprobs=rows, finish_reason=finish_reason)


def test_outputs_of_vllm_become_responses_without_the_sampled_token_among_the_likeliest() -> None:
    (response,) = vllm_offline.responses_of([request(7, choice())], **NIGHTLY)
    assert (response.id, response.finish_reason, response.n_completion_tokens) == ("nightly/7", "stop", 2)
    assert response.signal.top_logprobs is not None
    np.testing.assert_allclose(response.signal.top_logprobs, [[-0.5, -1.5], [-0.6, -1.4]])
    assert response.signal.chosen_logprobs is not None
    np.testing.assert_allclose(response.signal.chosen_logprobs, [-0.5, -2.6])


def test_choices_of_a_request_of_vllm_have_ids_of_their_own() -> None:
    found = vllm_offline.responses_of([request(0, choice(0), choice(1)), request(1, choice())], **NIGHTLY)
    assert [one.id for one in found] == ["nightly/0#0", "nightly/0#1", "nightly/1"]


def test_an_empty_response_of_vllm_is_one() -> None:
    (response,) = vllm_offline.responses_of(
        [request(0, Of(index=0, token_ids=[], logprobs=[], finish_reason="length"))], **NIGHTLY
    )
    assert response.signal.n_tokens == 0


@pytest.mark.parametrize("name", ["generate.json", "generate_null.json"])
def test_outputs_of_sglang_become_the_responses_that_the_agent_reads_from_its_server(name: str) -> None:
    body = (FOLDER / "sglang" / name).read_bytes()
    (response,) = sglang_offline.responses_of(json.loads(body), **NIGHTLY)
    (read,) = Decoder().read(Record("t", 0, 0, None, body))[0]
    assert isinstance(read, Generation)
    assert (response.id, response.context.k, response.finish_reason) == (f"nightly/{read.id}", 2, read.finish_reason)
    np.testing.assert_array_equal(response.signal.top_logprobs, read.signal.top_logprobs)


def test_outputs_without_logprobs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"SamplingParams\(logprobs"):
        vllm_offline.responses_of(
            [request(0, Of(index=0, token_ids=[1], logprobs=None, finish_reason=None))], **NIGHTLY
        )
    with pytest.raises(ValueError, match="no_logprobs: 1"):
        sglang_offline.responses_of(
            {"text": "x", "meta_info": {"id": "a", "finish_reason": {"type": "stop"}}}, **NIGHTLY
        )


def test_responses_are_published_with_what_the_tap_knows() -> None:
    events: list[bytes] = []
    tap = Tap(lambda _, value: events.append(value), domain="batch", context=Context(model_revision="r7"))
    tap.put(vllm_offline.responses_of([request(7, choice())], **NIGHTLY))
    headers = (("content-type", b"application/msgpack"),)
    (response,) = Decoder().decode([Record("t", 0, 0, None, value, headers) for value in events])
    assert isinstance(response, Generation)
    assert (response.domain, response.context) == ("batch", Context("m", "r7", 0.7, k=2))


def test_a_logging_payload_of_litellm_is_read_as_its_record_would_be() -> None:
    payload = json.loads((FOLDER / "litellm" / "logging.json").read_bytes())
    events: list[bytes] = []
    tap = Tap(lambda _, value: events.append(value))
    take(
        tap,
        {
            "standard_logging_object": payload | {"startTime": 1.76e9, "extra": object()},
            "litellm_params": {"metadata": {"domain": "law"}},
        },
    )
    take(tap, {"standard_logging_object": None})
    headers = (("content-type", b"application/msgpack"),)
    (response,) = Decoder().decode([Record("t", 0, 0, None, value, headers) for value in events])
    assert isinstance(response, Generation)
    assert (response.signal.n_tokens, response.context.k, response.domain) == (7, 3, "law")
    assert tap.counts == {"published": 1}
