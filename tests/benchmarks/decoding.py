"""How fast the bytes of servers become events and features, on one core: against JSON parsers reading the same bytes.

The payloads have 500 tokens with 20 alternatives each. Parsers give Python objects (json, orjson), a validated model
(pydantic), a lazy document (pysimdjson) or structs (msgspec); driftgauge gives the normalised signal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import orjson
import pydantic
import simdjson

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.models.events import Context, Event, Generation, Signal
from driftgauge.models.signals.features import extract
from tests.benchmarks.timing import seconds

N_TOKENS, K, N_EVENTS = 500, 20, 8
REPEATS = 10

Result = dict[str, float | str | None]


class Alternative(msgspec.Struct, gc=False):
    logprob: float
    token: str


class Entry(msgspec.Struct):
    logprob: float
    token: str
    top_logprobs: list[Alternative]


class Entries(msgspec.Struct):
    content: list[Entry]


class Choice(msgspec.Struct):
    index: int
    finish_reason: str
    logprobs: Entries


class Body(msgspec.Struct):
    """The fields that features are made of, and no more: what msgspec's bare parse is told to read."""

    id: str
    created: int
    model: str
    choices: list[Choice]


class AlternativeModel(pydantic.BaseModel):
    logprob: float
    token: str


class EntryModel(AlternativeModel):
    top_logprobs: list[AlternativeModel]


class EntriesModel(pydantic.BaseModel):
    content: list[EntryModel]


class ChoiceModel(pydantic.BaseModel):
    index: int
    finish_reason: str
    logprobs: EntriesModel


class BodyModel(pydantic.BaseModel):
    id: str
    created: int
    model: str
    choices: list[ChoiceModel]


def rows(seed: int) -> tuple[np.ndarray, list[list[str]]]:
    """(T, k) log-probabilities, the likeliest first, and a text for each."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(K, 0.3), size=N_TOKENS)
    texts = [f" {word}{number}" for number in range(50) for word in ("the", "entropy", "of", "x", "calibrated")]
    names = [rng.choice(texts, K, replace=False).tolist() for _ in range(N_TOKENS)]
    return np.log(np.sort(p)[:, ::-1] + 1e-12), names


def openai_chat(seed: int) -> dict[str, Any]:
    logprobs, names = rows(seed)
    content = []
    for row, texts in zip(logprobs.tolist(), names, strict=True):
        listed = [{"token": t, "logprob": x, "bytes": list(t.encode())} for t, x in zip(texts, row, strict=True)]
        content.append({**listed[0], "top_logprobs": listed})
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "…" * 500},
              "logprobs": {"content": content, "refusal": None}}  # fmt: skip
    usage = {"prompt_tokens": 12, "completion_tokens": N_TOKENS, "total_tokens": N_TOKENS + 12}
    return {"id": f"chatcmpl-{seed}", "object": "chat.completion", "created": 1_760_000_000, "model": "m",
            "choices": [choice], "usage": usage}  # fmt: skip


def openai_completions(seed: int) -> dict[str, Any]:
    logprobs, names = rows(seed)
    pairs = zip(names, logprobs.tolist(), strict=True)
    listed = {
        "tokens": [texts[0] for texts in names],
        "token_logprobs": logprobs[:, 0].tolist(),
        "top_logprobs": [dict(zip(texts, row, strict=True)) for texts, row in pairs],
        "text_offset": list(range(N_TOKENS)),
    }  # fmt: skip
    body = openai_chat(seed)
    body["choices"] = [{"index": 0, "finish_reason": "stop", "text": "…", "logprobs": listed}]
    return body


def sglang(seed: int) -> dict[str, Any]:
    logprobs, _ = rows(seed)
    top = [[[x, 100 + i, None] for i, x in enumerate(row)] for row in logprobs.tolist()]
    meta = {"id": f"s{seed}", "finish_reason": {"type": "stop"}, "prompt_tokens": 12, "completion_tokens": N_TOKENS,
            "output_token_logprobs": [row[0] for row in top], "output_top_logprobs": top}  # fmt: skip
    return {"text": "…", "meta_info": meta}


def tgi(seed: int) -> dict[str, Any]:
    logprobs, names = rows(seed)
    top = [
        [{"id": i, "text": t, "logprob": x, "special": False} for i, (t, x) in enumerate(zip(texts, row, strict=True))]
        for texts, row in zip(names, logprobs.tolist(), strict=True)
    ]
    details = {"finish_reason": "length", "generated_tokens": N_TOKENS, "prefill": [], "seed": None,
               "tokens": [row[0] for row in top], "top_tokens": top}  # fmt: skip
    return {"generated_text": "…", "details": details}


def gemini(seed: int) -> dict[str, Any]:
    logprobs, names = rows(seed)
    top = [
        [{"token": t, "tokenId": i, "logProbability": x} for i, (t, x) in enumerate(zip(texts, row, strict=True))]
        for texts, row in zip(names, logprobs.tolist(), strict=True)
    ]
    result = {"chosenCandidates": [row[0] for row in top], "topCandidates": [{"candidates": row} for row in top]}
    candidate = {"content": {"parts": [{"text": "…"}]}, "finishReason": "STOP", "logprobsResult": result}
    usage = {"promptTokenCount": 12, "candidatesTokenCount": N_TOKENS}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": f"g{seed}"}


def generation(seed: int) -> Generation:
    top = rows(seed)[0].astype(np.float32)
    return Generation(f"r{seed}", 1.76e9, "d", Context(model="m", k=K), Signal(top[:, 0].copy(), top))


JSON_SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "openai": openai_chat,
    "openai_completions": openai_completions,
    "sglang": sglang,
    "tgi": tgi,
    "gemini": gemini,
}


def shapes() -> dict[str, list[Record]]:
    """Records of every shape, by name."""
    values = {
        name: [json.dumps(make(seed), separators=(",", ":")).encode() for seed in range(N_EVENTS)]
        for name, make in JSON_SHAPES.items()
    }
    values["own_json"] = [encode_generation(generation(seed), "json", packed=False) for seed in range(N_EVENTS)]
    values["packed_json"] = [encode_generation(generation(seed), "json") for seed in range(N_EVENTS)]
    found = {name: [_record(value) for value in listed] for name, listed in values.items()}
    packed = [encode_generation(generation(seed)) for seed in range(N_EVENTS)]
    found["packed"] = [_record(value, (("content-type", b"application/msgpack"),)) for value in packed]
    return found


def openai_stream(seed: int) -> bytes:
    """The answer of `openai_chat` as the server-sent events of its stream, a token an event."""
    body = openai_chat(seed)
    (choice,) = body["choices"]
    shared = {"id": body["id"], "object": "chat.completion.chunk", "created": body["created"], "model": body["model"]}

    def event(delta: dict[str, str], logprobs: object = None, finish_reason: str | None = None) -> dict[str, Any]:
        piece = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**shared, "choices": [piece]}

    entries = choice["logprobs"]["content"]
    documents = [
        event({"role": "assistant", "content": ""}),
        *(event({"content": entry["token"]}, {"content": [entry], "refusal": None}) for entry in entries),
        event({}, finish_reason="stop"),
        {**shared, "choices": [], "usage": body["usage"]},
    ]
    lines = [json.dumps(document, separators=(",", ":")).encode() for document in documents]
    return b"".join(b"data: " + line + b"\n\n" for line in (*lines, b"[DONE]"))


def _record(value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    return Record("t", 0, 0, b"k", value, headers, 1.76e9)


def measure() -> dict[str, dict[str, Any]]:
    """Events per second of the decoder and of whole paths; MB/s and tokens/s stand beside."""
    records, results = shapes(), {}
    parsers = _parsers()
    for name, listed in records.items():
        assert len(_signals(listed)) == N_EVENTS, name
        compared = {p: parse for p, parse in parsers.items() if _is_compared(p, name)}
        ours, *theirs = _rates((listed, _signals), *((listed, _each(parse)) for parse in compared.values()))
        n_bytes = sum(len(record.value or b"") for record in listed) / N_EVENTS
        results[f"decode_{name}_bytes"] = _result(ours * n_bytes / 1e6, "MB/s", None)
        results[f"decode_{name}_tokens"] = _result(ours * N_TOKENS, "tokens/s", None)
        for parser, rate in zip(compared, theirs, strict=True):
            results[f"decode_{name}_vs_{parser}"] = _result(ours, "events/s", rate)
    openai, packed, streams = records["openai"], records["packed"], [_record(openai_stream(i)) for i in range(N_EVENTS)]
    of_streams, of_bodies = _rates((streams, Decoder().decode), (openai, Decoder().decode))
    results["decode_openai_stream_vs_body"] = _result(of_streams, "events/s", of_bodies)
    of_openai, of_packed, bare = _rates((openai, _features), (packed, _features), (openai, _each(parsers["msgspec"])))
    results["openai_to_features_vs_parse"] = _result(of_openai, "events/s", bare)
    results["packed_to_features_vs_openai"] = _result(of_packed, "events/s", of_openai)
    return results


def _is_compared(parser: str, shape: str) -> bool:
    return shape == "openai" or (shape != "packed" and parser not in ("pydantic", "msgspec"))


def _parsers() -> dict[str, Callable[[bytes], object]]:
    reader = simdjson.Parser()
    return {
        "json": json.loads,
        "orjson": orjson.loads,
        "pydantic": BodyModel.model_validate_json,
        "pysimdjson": lambda value: reader.parse(value) and None,  # nothing may refer to the last document
        "msgspec": msgspec.json.Decoder(Body).decode,
    }


def _each(parse: Callable[[bytes], object]) -> Callable[[list[Record]], object]:
    def all_of(records: list[Record]) -> None:
        for record in records:
            parse(record.value or b"")

    return all_of


def _signals(records: list[Record]) -> list[Signal]:
    events: list[Event] = Decoder().decode(records)
    return [event.signal for event in events if isinstance(event, Generation)]


def _features(records: list[Record]) -> object:
    return extract(_signals(records))


def _rates(*works: tuple[list[Record], Callable[[list[Record]], object]]) -> list[float]:
    """Events per second of each."""
    return [N_EVENTS / s for s in seconds(*(partial(work, records) for records, work in works), repeats=REPEATS)]


def _result(value: float, unit: str, baseline: float | None) -> Result:
    return {"value": value, "unit": unit, "baseline": baseline, "ratio": None if baseline is None else value / baseline}
