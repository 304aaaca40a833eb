"""Hypothesis strategies for payloads: generated tokens, in the shape of each server."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hypothesis import strategies as st

Tree: TypeAlias = Any
WORDS = ("The", " capital", " of", "\n", "", " \ufffd", "é", "token_id:7", "</think>", "x" * 40)
ODD = (None, 0.0, -0.0, -9999.0, -3.4028234663852886e38, -1e-30, 3.5, 1e300, "NaN", "-Infinity", "one")


@dataclass(frozen=True)
class Token:
    """One generated token: text, id, log-probability, alternatives as (text, id, log-probability)."""

    text: str
    id: int
    logprob: Tree
    top: tuple[tuple[str, int, Tree], ...]


_RANKED = st.tuples(st.lists(st.integers(1, 60), min_size=3, max_size=5), st.integers(0, 4), st.sampled_from(WORDS[:4]))


def fair_tokens(min_size: int = 0, max_size: int = 6) -> st.SearchStrategy[list[Token]]:
    """Tokens of an honest server: k sorted alternatives with a mass below one, the sampled one among them or not."""
    return st.lists(_RANKED, min_size=min_size, max_size=max_size).map(lambda drawn: [_fair(*each) for each in drawn])


def _fair(weights: list[int], rank: int, text: str) -> Token:
    rank = min(rank, len(weights) - 1)
    logprobs = [math.log(weight / (1.01 * sum(weights))) for weight in sorted(weights, reverse=True)]
    ranked = [(text if i == rank else f"{text}{i}", 100 + i, logprob) for i, logprob in enumerate(logprobs)]
    return Token(text, 100 + rank, logprobs[rank], tuple(ranked[:-1]))


_LOGPROBS = (*ODD, -0.01, -0.25, -0.7, -1.1, -3.0, -17.5, -60.0)
_NAMED = st.tuples(st.sampled_from(WORDS), st.integers(0, 3), st.sampled_from(_LOGPROBS))


def odd_tokens(min_size: int = 0, max_size: int = 5) -> st.SearchStrategy[list[Token]]:
    """Tokens with sentinels, fillers and values of other types, in any order, with names that collide."""
    token = st.tuples(_NAMED, st.lists(_NAMED, max_size=4))
    drawn = st.lists(token, min_size=min_size, max_size=max_size)
    return drawn.map(lambda each: [Token(*named, tuple(top)) for named, top in each])


# --- bodies --------------------------------------------------------------------------------------------------------


def entry(token: Token) -> Tree:
    """An entry of chat."""
    return {**_named(token.text, token.id, token.logprob), "top_logprobs": [_named(*other) for other in token.top]}


def _named(text: str, token: int, logprob: Tree) -> Tree:
    return {"token": text, "id": token, "logprob": logprob, "bytes": list(text.encode())}


def _lists(tokens: Sequence[Token]) -> Tree:
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{text: logprob for text, _, logprob in token.top} for token in tokens],
        "text_offset": [-1] * len(tokens),
    }


def _usage(tokens: Sequence[Token]) -> Tree:
    return {"prompt_tokens": 3, "completion_tokens": len(tokens), "total_tokens": 3 + len(tokens)}


def chat(tokens: Sequence[Token]) -> Tree:
    """A chat body."""
    message = {"role": "assistant", "content": "…"}
    choice = {"index": 0, "message": message, "logprobs": {"content": [*map(entry, tokens)]}, "finish_reason": "stop"}
    return {"id": "r", "object": "chat.completion", "model": "m", "choices": [choice], "usage": _usage(tokens)}


def completions(tokens: Sequence[Token]) -> Tree:
    """A completions body."""
    choice = {"index": 0, "text": "…", "logprobs": _lists(tokens), "finish_reason": "length"}
    return {"id": "r", "object": "text_completion", "model": "m", "choices": [choice], "usage": _usage(tokens)}


def deepseek(tokens: Sequence[Token]) -> Tree:
    """A chat body with reasoning in a list of its own."""
    body, half = chat(tokens), len(tokens) // 2
    entries = [*map(entry, tokens)]
    body["choices"][0]["logprobs"] = {"content": entries[half:], "reasoning_content": entries[:half]}
    return body


def responses(tokens: Sequence[Token]) -> Tree:
    """A Responses object."""
    part = {"type": "output_text", "text": "…", "logprobs": [*map(entry, tokens)]}
    return {
        "id": "r", "object": "response", "status": "completed", "model": "m", "created_at": 1.7e9,
        "output": [{"type": "message", "content": [part]}], "usage": {"output_tokens": len(tokens)},
    }  # fmt: skip


def sglang(tokens: Sequence[Token], *, n: int | None = None, reason: str | None = "stop") -> Tree:
    """SGLang's own body, or an event of its stream."""
    return {"text": "…", "meta_info": {
        "id": "r", "finish_reason": reason and {"type": reason}, "completion_tokens": n or len(tokens),
        "output_token_logprobs": [[token.logprob, token.id, token.text] for token in tokens],
        "output_top_logprobs": [[[logprob, i, text] for text, i, logprob in token.top] for token in tokens],
        "output_token_logprobs_length": n or len(tokens),
    }}  # fmt: skip


def _tgi_token(text: str, token: int, logprob: Tree) -> Tree:
    return {"id": token, "text": text, "logprob": logprob, "special": False}


def tgi(tokens: Sequence[Token]) -> Tree:
    """TGI's own body."""
    return {"generated_text": "…", "details": {
        "finish_reason": "length", "generated_tokens": len(tokens), "prefill": [],
        "tokens": [_tgi_token(token.text, token.id, token.logprob) for token in tokens],
        "top_tokens": [[_tgi_token(*other) for other in token.top] for token in tokens],
    }}  # fmt: skip


def llama_cpp(tokens: Sequence[Token]) -> Tree:
    """llama.cpp's own body."""
    return {
        "content": "…", "stop": True, "stop_type": "eos", "model": "m", "tokens_predicted": len(tokens),
        "completion_probabilities": [*map(entry, tokens)],
    }  # fmt: skip


def llama_cpp_old(tokens: Sequence[Token]) -> Tree:
    """llama.cpp's own body before 2024-12."""
    rows = [[{"tok_str": text, "prob": _probability(logprob)} for text, _, logprob in token.top] for token in tokens]
    listed = [{"content": token.text, "probs": row} for token, row in zip(tokens, rows, strict=True)]
    return {"content": "…", "stop": True, "stopped_eos": True, "model": "m", "completion_probabilities": listed}


def _probability(logprob: Tree) -> Tree:
    return math.exp(logprob) if isinstance(logprob, float) and logprob <= 0 else logprob


def ollama(tokens: Sequence[Token]) -> Tree:
    """Ollama's own body."""
    return {
        "model": "m", "created_at": "2026-02-25T09:14:03.4Z", "message": {"role": "assistant", "content": "…"},
        "done": True, "done_reason": "stop", "eval_count": len(tokens), "logprobs": [*map(entry, tokens)],
    }  # fmt: skip


def _gemini_token(text: str, token: int, logprob: Tree) -> Tree:
    return {"token": text, "tokenId": token, "logProbability": logprob}


def gemini(tokens: Sequence[Token], *, n: int | None = None, reason: str | None = "STOP") -> Tree:
    """A body of Gemini's, or a chunk."""
    result = {
        "chosenCandidates": [_gemini_token(token.text, token.id, token.logprob) for token in tokens],
        "topCandidates": [{"candidates": [_gemini_token(*other) for other in token.top]} for token in tokens],
    }
    candidate = {"content": {"parts": [{"text": "…"}]}, "finishReason": reason, "logprobsResult": result}
    usage = {"candidatesTokenCount": n or len(tokens)} if reason else {}
    return {"responseId": "r", "modelVersion": "m", "candidates": [candidate], "usageMetadata": usage}


def cohere(tokens: Sequence[Token]) -> Tree:
    """A body of Cohere's."""
    items = [{"text": token.text, "token_ids": [token.id], "logprobs": [token.logprob]} for token in tokens]
    return {"id": "r", "finish_reason": "COMPLETE", "message": {"content": []}, "logprobs": items}


def ai21(tokens: Sequence[Token]) -> Tree:
    """A body of AI21's on Bedrock."""
    listed = [
        {
            "generatedToken": {"token": token.text, "logprob": 0.0, "raw_logprob": token.logprob},
            "topTokens": [{"token": text, "logprob": 0.0, "raw_logprob": logprob} for text, _, logprob in token.top],
        }
        for token in tokens
    ]
    return {"id": 1, "completions": [{"data": {"text": "…", "tokens": listed}, "finishReason": {"reason": "length"}}]}


def triton(tokens: Sequence[Token]) -> Tree:
    """A body of Triton's."""
    return {"model_name": "m", "text_output": "…", "output_log_probs": [token.logprob for token in tokens]}


def litellm(tokens: Sequence[Token]) -> Tree:
    """LiteLLM's logging payload."""
    return {"id": "g", "call_type": "acompletion", "model_parameters": {"temperature": 0.5}, "response": chat(tokens)}


def batch_line(tokens: Sequence[Token]) -> Tree:
    """A line of OpenAI's batch output."""
    return {"id": "b", "custom_id": "c", "response": {"status_code": 200, "body": chat(tokens)}}


def own(tokens: Sequence[Token]) -> Tree:
    """An own event."""
    k = min((len(token.top) for token in tokens), default=0)
    rows = [[logprob for _, _, logprob in token.top[:k]] for token in tokens]
    signal = {"chosen_logprobs": [token.logprob for token in tokens], "top_logprobs": rows}
    return {"type": "generation", "id": "r", "event_time": 1.7e9, "model": "m", "signal": signal}


def structured(tokens: Sequence[Token]) -> Tree:
    """A chat body in a CloudEvents envelope."""
    return {"specversion": "1.0", "id": "e", "source": "s", "type": "t", "data": chat(tokens)}


Shape: TypeAlias = Callable[[Sequence[Token]], Tree]
BODIES: Mapping[str, Shape] = {
    shape.__name__: shape
    for shape in (
        chat, completions, deepseek, responses, sglang, tgi, llama_cpp, llama_cpp_old, ollama, gemini, cohere, ai21,
        triton, litellm, batch_line, own, structured,
    )
}  # fmt: skip


# --- streams: the same tokens in pieces ------ ------------------------------------------------------------------------


def chat_stream(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Chunks of chat."""
    deltas = [({"content": "…"}, {"content": [*map(entry, piece)]}, None) for piece in pieces]
    ends = [({"role": "assistant", "content": ""}, None, None), *deltas, ({}, None, "stop")]
    head = {"id": "r", "object": "chat.completion.chunk", "model": "m"}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}]}
        for delta, logprobs, reason in ends
    ]
    return [*chunks, {**head, "choices": [], "usage": _usage([token for piece in pieces for token in piece])}]


def completions_stream(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Chunks of completions, the last one with the reason why it ended."""
    head = {"id": "r", "object": "text_completion", "model": "m"}
    reasons = [*[None] * (len(pieces) - 1), "stop"]
    return [
        {**head, "choices": [{"index": 0, "text": "…", "logprobs": _lists(piece), "finish_reason": reason}]}
        for piece, reason in zip(pieces, reasons, strict=True)
    ]


def responses_stream(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Events of the Responses API: deltas, and everything again at the end."""
    whole = responses([token for piece in pieces for token in piece])
    begin = {**whole, "status": "in_progress", "output": [], "usage": None}
    deltas = [
        {"type": "response.output_text.delta", "delta": "…", "logprobs": [*map(entry, piece)]} for piece in pieces
    ]
    done = {"type": "response.output_item.done", "item": whole["output"][0]}
    events: list[Tree] = [{"type": "response.created", "response": begin}, *deltas, done]
    events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": i} for i, event in enumerate(events)]


def sglang_stream(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Cumulative events of SGLang."""
    ends = [sum(map(len, pieces[: i + 1])) for i in range(len(pieces))]
    tokens = [token for piece in pieces for token in piece]
    return [sglang(tokens[:end], reason="stop" if end == len(tokens) else None) for end in ends]


def sglang_increments(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Incremental events of SGLang."""
    ends = [sum(map(len, pieces[: i + 1])) for i in range(len(pieces))]
    return [
        sglang(piece, n=end, reason="stop" if end == ends[-1] else None)
        for piece, end in zip(pieces, ends, strict=True)
    ]


def tgi_stream(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Events of TGI: one token each, whatever the pieces."""
    tokens = [token for piece in pieces for token in piece]
    events = [
        {"index": i + 1, "token": _tgi_token(token.text, token.id, token.logprob),
         "top_tokens": [_tgi_token(*other) for other in token.top], "generated_text": None, "details": None}
        for i, token in enumerate(tokens)
    ]  # fmt: skip
    end = {"generated_text": "…", "details": {"finish_reason": "length", "generated_tokens": len(tokens)}}
    return [*events[:-1], {**events[-1], **end}]


def llama_cpp_stream(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Events of llama.cpp, the last one without tokens."""
    events = [{"content": "…", "stop": False, "completion_probabilities": [*map(entry, piece)]} for piece in pieces]
    n = sum(map(len, pieces))
    return [*events, {"content": "", "stop": True, "stop_type": "eos", "model": "m", "tokens_predicted": n}]


def ollama_stream(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Lines of Ollama."""
    head = {"model": "m", "created_at": "2026-02-25T09:14:03Z"}
    lines = [{**head, "message": {"content": "…"}, "done": False, "logprobs": [*map(entry, piece)]} for piece in pieces]
    end = {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": sum(map(len, pieces))}
    return [*lines, {**head, **end}]


def gemini_stream(pieces: Sequence[Sequence[Token]]) -> list[Tree]:
    """Chunks of Gemini's."""
    n = sum(map(len, pieces))
    return [gemini(piece, n=n, reason="STOP" if i == len(pieces) - 1 else None) for i, piece in enumerate(pieces)]


StreamShape: TypeAlias = Callable[[Sequence[Sequence[Token]]], list[Tree]]
STREAMS: Mapping[str, tuple[StreamShape, Shape]] = {
    "chat": (chat_stream, chat),
    "completions": (completions_stream, completions),
    "responses": (responses_stream, responses),
    "sglang": (sglang_stream, sglang),
    "sglang_increments": (sglang_increments, sglang),
    "tgi": (tgi_stream, tgi),
    "llama_cpp": (llama_cpp_stream, llama_cpp),
    "ollama": (ollama_stream, ollama),
    "gemini": (gemini_stream, gemini),
}
"""Each stream with the body that has the same tokens."""


def pieces(tokens: Sequence[Token], cuts: Sequence[int]) -> list[list[Token]]:
    """The tokens cut at these places, without empty pieces."""
    places = sorted({0, len(tokens), *(cut % len(tokens) for cut in cuts)})
    return [list(tokens[start:stop]) for start, stop in itertools.pairwise(places)]
