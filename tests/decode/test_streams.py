"""Responses in chunks: they equal the whole response, and every irregularity is counted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import SEGMENT_ANSWER, SEGMENT_REASONING, Chunk, Event, Generation
from driftgauge.models.outputs import Output, Prediction
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from driftgauge.models.signals.features import extract
from driftgauge.models.signals.in_flight import InFlight
from tests.decode.chat import OTHER, USUAL, body, chunk, chunks, entry, events, generation, record

ENTRIES = [entry("a", -0.5, USUAL), entry("b", -1.4, OTHER), entry("c", -2.5, USUAL)]
USAGE = {"prompt_tokens": 5, "completion_tokens": 3}
TRAILER = {"id": "r", "object": "chat.completion.chunk", "created": 1_760_000_000, "choices": [], "usage": USAGE}


def stream(*finish: Any) -> list[Any]:
    return [*(chunk(e) for e in ENTRIES), chunk(finish="stop"), *finish]


def assembled(found: list[Event], settings: AssemblySettings | None = None) -> tuple[Assembly, list[InFlight]]:
    assembly = Assembly(settings or AssemblySettings())
    done = [done for event in found if isinstance(event, Chunk) for done in assembly.completed_by(event)]
    return assembly, done


def one(found: list[Event]) -> InFlight:
    _, (response,) = assembled(found)
    return response


def sse(*documents: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(d).encode() + b"\n\n" for d in documents)


def sglang(n: int, listed: slice = slice(None), end: bool = False) -> dict[str, Any]:
    rows = [[-0.5, 1, None], [-1.4, 2, None], [-2.5, 3, None]][:n]
    meta = {"id": "s", "finish_reason": {"type": "stop"} if end else None, "completion_tokens": n,
            "output_token_logprobs": rows[listed], "output_token_logprobs_length": n}  # fmt: skip
    return {"text": "abc"[:n], "meta_info": meta}


def tgi(index: int, end: bool = False) -> dict[str, Any]:
    token = {"id": index, "text": "x", "logprob": -0.5 * index, "special": False}
    details = {"finish_reason": "length", "generated_tokens": 3} if end else None
    return {"index": index, "token": token, "generated_text": "xxx" if end else None, "details": details}


def test_a_stream_has_the_features_of_the_whole() -> None:
    whole = generation(body(*ENTRIES)).signal
    response = one(events(*stream(TRAILER)))
    assert (response.accumulator.features() == extract([whole])[0]).all()
    assert response.complete().finish_reason == "stop"


def test_a_stream_of_server_sent_events_in_one_record_is_a_response() -> None:
    response = one(Decoder().decode([record(sse(*stream()) + b"data: [DONE]\n\n")]))
    assert response.counts.n_logprobs == 3


def test_token_counts_that_come_last_are_those_of_the_response() -> None:
    assert one(events(*stream(TRAILER))).complete().n_completion_tokens == 3


def test_a_response_that_ended_waits_a_while_for_its_token_counts() -> None:
    assembly, done = assembled(events(*stream()))
    assert not done
    assert assembly.overdue(lambda _: 1_760_000_005.0) == []
    assert [r.head.id for r in assembly.overdue(lambda _: 1_760_000_005.1)] == ["r"]


def test_a_done_record_completes_a_response() -> None:
    found = events(*stream(), b"[DONE]", key=b"r")
    assert one(found).counts.n_logprobs == 3


def test_a_trailer_of_an_unknown_response_is_ignored() -> None:
    assembly, done = assembled(events(TRAILER, b"[DONE]", key=b"elsewhere"))
    assert not done
    assert not assembly.in_flight


def test_choices_of_a_stream_are_responses_of_their_own_and_share_the_token_counts() -> None:
    second = [json.loads(json.dumps(c).replace('"index": 0', '"index": 1')) for c in stream()]
    mixed = [piece for pair in zip(stream(), second, strict=True) for piece in pair]
    _, done = assembled(events(*mixed, {**TRAILER, "usage": {"completion_tokens": 6}}))
    assert [(r.head.id, r.head.n_completion_tokens) for r in done] == [("r", 3), ("r#1", 3)]


def test_cumulative_events_count_each_token_once() -> None:
    found = events(sglang(1), sglang(2), sglang(3), key=None)
    assembly, _ = assembled(found)
    counts = assembly.in_flight["s"].counts
    assert counts.n_logprobs == 3
    assert counts.logprob_sum == pytest.approx(-4.4)


def test_the_last_cumulative_event_replaces_the_pieces() -> None:
    outputs = played(events(sglang(1), sglang(2), sglang(3, end=True)))
    assert [(o.response_id, o.n_tokens) for o in outputs if isinstance(o, Prediction)] == [("s", 3)]


def test_increments_are_appended_in_order() -> None:
    found = events(sglang(1), sglang(2, slice(1, 2)), sglang(3, slice(2, 3), end=True))
    assert one(found).counts.logprob_sum == pytest.approx(-4.4)


@pytest.mark.parametrize("order", [(1, 2, 3), (2, 1, 3), (3, 2, 1), (1, 1, 2, 2, 3), (2, 1, 2, 3)])
def test_events_with_an_index_are_put_in_order_and_taken_once(order: tuple[int, ...]) -> None:
    response = one(chunks_of_tgi(order))
    assert (-np.array(response.accumulator.signal().chosen_logprobs)).tolist() == [0.5, 1.0, 1.5]
    assert response.counts.problems["duplicate_chunk"] == len(order) - 3


def test_a_gap_is_counted_and_closed_when_the_response_expires() -> None:
    assembly, done = assembled(chunks_of_tgi((1, 3)))
    assert not done
    (response,) = assembly.expire(lambda _: 1e12)
    assert response.has_ended
    assert response.counts.problems == {"chunk_out_of_order": 1, "lost_chunks": 1}
    assert response.counts.n_logprobs == 2


def chunks_of_tgi(order: tuple[int, ...]) -> list[Event]:
    return [*chunks(*(tgi(n, n == 3) for n in order))]


def test_a_stream_without_an_end_expires_as_a_dead_letter() -> None:
    before, later = body(*ENTRIES, id="before"), body(*ENTRIES, id="later", created=1_770_000_000)
    outputs = played(events(before, *stream()[:2], later))
    assert "incomplete_response" in [getattr(output, "reason", "") for output in outputs]


def test_a_response_in_flight_has_a_risk() -> None:
    settings = PipelineSettings(predictions="all")
    known = generation(body(*ENTRIES, id="before"))  # creates the context
    outputs = played([known, *events(*stream()[:2])], settings)
    early = [o for o in outputs if isinstance(o, Prediction) and not o.is_final]
    assert [o.n_tokens for o in early] == [1, 2]


def test_the_repetitions_of_a_responses_stream_count_once() -> None:
    delta = [{"type": "response.output_text.delta", "item_id": "i", "sequence_number": n, "delta": "x",
              "logprobs": [{"token": "x", "logprob": value, "top_logprobs": []}]}
             for n, value in enumerate((-0.123456789, -1.5), start=1)]  # fmt: skip
    rounded = [{"token": "x", "logprob": value, "top_logprobs": []} for value in (-0.123457, -1.5)]
    item = {"type": "message", "content": [{"type": "output_text", "text": "xx", "logprobs": rounded}]}
    first = {"type": "response.created", "sequence_number": 0, "response": {"id": "p", "output": []}}
    whole = {"id": "p", "status": "completed", "output": [item], "usage": {"output_tokens": 3}}
    last = {"type": "response.completed", "sequence_number": 3, "response": whole}
    response = one(events(first, delta[1], delta[0], last))
    assert response.head.id == "key"
    assert response.counts.logprob_sum == pytest.approx(-1.623456789, abs=1e-7)
    assert response.counts.n_tokens == 2


def test_a_responses_stream_without_deltas_is_read_from_its_last_event() -> None:
    item = {"type": "message", "content": [{"logprobs": [{"token": "x", "logprob": -0.5}]}]}
    last = {"type": "response.completed", "sequence_number": 9, "response": {"id": "p", "output": [item]}}
    assembly, _ = assembled(events(last))
    (response,) = assembly.expire(lambda _: 1e12)
    assert response.counts.n_logprobs == 1


def test_reasoning_and_answer_of_a_stream_are_separate_segments() -> None:
    thinking = chunk(entry("a", -0.5, USUAL))
    thinking["choices"][0]["delta"] = {"reasoning": "a"}
    response = one(events(thinking, chunk(ENTRIES[1]), chunk(finish="stop"), TRAILER))
    assert response.accumulator.signal().segments.tolist() == [SEGMENT_REASONING, SEGMENT_ANSWER]  # type: ignore[union-attr]


def test_reasoning_of_a_whole_body_is_found_by_its_end_token_or_its_count() -> None:
    marked = generation(body(entry("hm", -0.5), entry("</think>", -0.1), entry("42", -0.2))).signal
    usage = {"completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 2}}
    counted = generation(body(*ENTRIES, usage=usage)).signal
    assert marked.segments.tolist() == counted.segments.tolist() == [1, 1, 2]  # type: ignore[union-attr]
    assert generation(body(*ENTRIES)).signal.segments is None


def test_a_stream_survives_a_restart() -> None:
    found = chunks_of_tgi((1, 3))
    assembly, _ = assembled(found)
    state = {i: blob for i, blob in assembly.snapshot(["key"]).items() if blob is not None}
    restored = Assembly(AssemblySettings()).restore(state)
    assert restored.snapshot(["key"]) == assembly.snapshot(["key"])
    (piece,) = chunks(tgi(2))
    assert [r.counts.n_logprobs for r in restored.completed_by(piece)] == [3]


def played(found: list[Event], settings: PipelineSettings | None = None) -> list[Output]:
    settings = settings or PipelineSettings(predictions="final")
    with MemoryStore().transaction() as transaction:
        return Pipeline(settings).step(found, transaction)


def test_a_new_context_raises_an_alert_and_an_uninformative_one_is_refused() -> None:
    certain = entry("a", 0.0, [("a", 0.0), ("b", -9999.0)])
    outputs = played(events(body(*ENTRIES), body(certain, id="s", model="greedy")))
    kinds = [getattr(output, "kind", "") for output in outputs]
    assert "new_context" in kinds
    assert "refused_context" in kinds


def test_another_k_is_another_context() -> None:
    fewer = [e | {"top_logprobs": e["top_logprobs"][:2]} for e in ENTRIES]
    outputs = played(events(body(*ENTRIES), body(*ENTRIES, id="s"), body(*fewer, id="t")))
    fingerprints = [o.fingerprint for o in outputs if isinstance(o, Prediction)]
    assert len(fingerprints) == 3
    assert len(set(fingerprints)) == 2
    assert all(isinstance(event, Generation) for event in events(body(*ENTRIES)))


def test_responses_with_a_field_that_could_not_be_used_are_counted_once_each() -> None:
    bad = {"prompt_tokens": 5, "completion_tokens": -3}
    pipeline = Pipeline(PipelineSettings())
    found = events(
        body(*ENTRIES, usage=bad), *(chunk(e, id="s", usage=bad) for e in ENTRIES), chunk(id="s", finish="stop")
    )
    with MemoryStore().transaction() as transaction:
        pipeline.step([*found, *events({**TRAILER, "id": "s"})], transaction)
    counted = {name: n for name, n in pipeline.state.counters.items() if name.startswith("response_")}
    assert counted == {"response_invalid_usage": 2, "response_default_domain": 2}


def test_beams_of_triton_are_responses_of_their_own() -> None:
    beams = {"id": "t", "model_name": "m", "text_output": ["a", "b"], "output_log_probs": [[-0.5, -1.5], [-2.5]]}
    found = [event for event in events(beams) if isinstance(event, Generation)]
    assert [(event.id, event.signal.n_tokens) for event in found] == [("t#0", 2), ("t#1", 1)]
    whole = events({**beams, "text_output": "a", "output_log_probs": [[-0.5, -1.5]]})
    assert [event.id for event in whole if isinstance(event, Generation)] == ["t"]
