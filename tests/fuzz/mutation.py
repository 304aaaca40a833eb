"""Mutated payloads: in their tree, where almost everything stays valid, or in their bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeAlias

import msgspec

Tree: TypeAlias = Any
"""A value as `json.loads` returns it."""

JUNK: tuple[Tree, ...] = (
    None, True, False, 0, 1, -1, 0.5, -0.0, 1e-320, 1e308, -1e308, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**40,
    1e39, 3e38, 1e-200, 1e-9, 5e-324, 2**40, 64.0, -1e30, float("nan"), float("inf"), float("-inf"), -9999.0,
    -3.4028234663852886e38, "", "0", "NaN", "-Infinity", "\x00",
    "\ud800", "\ufffd", "x" * 600, "[DONE]", "2026-02-30T00:00:00Z", [], {}, [[]], [None], [0.0] * 40, {"": None},
    [{"logprob": -1.0}] * 3, {"a": -0.5, "b": -0.25},
)  # fmt: skip

EXTREMES = (
    0, 1, -1, 0.0, 1e-9, 9.9e-10, 1e-45, 1e-200, 5e-324, 0.999999999, 63.9, -0.0009, 1e5, 1e30, 3.4e38, 1e39, 1e200,
    1.7e308, -1e-9, -1e5, -1e30, -3.4e38, -1e39, -1e200, 2**31 - 1, 2**31, 2**40, 2**53, 2**63 - 1, 2**63, -(2**63),
    4_102_444_800.0, 1e-300,
)  # fmt: skip
"""Numbers at and beyond the borders of what may come."""

BITS_OF_BYTES = (
    b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"[" * 2_000, b'{"a":' * 500, b"1" * 400, b'"', b"\\u", b"e999", b"NaN",
    b"-", b",", b"]", b"}", b"data: ", b"\r\n\r\n", b"-Infinity", b"1e999", b"\\ud83d", b"\x00\x00\x00\x00\x01",
    b"\xff\xfe", b"null", b"}{", b"data: null\n\n",
)  # fmt: skip


def mutated(payload: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    """The payload after one to three mutations; parts of ``seeds`` are spliced into it."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        payload = random.choice(_MUTATIONS)(payload, seeds, random)
    return payload


def _in_tree(payload: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    try:
        tree = json.loads(payload)
    except (ValueError, RecursionError):
        return _in_msgpack_tree(payload, seeds, random)
    return json.dumps(mutated_tree(tree, random)).encode()


def _in_msgpack_tree(payload: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    try:
        tree = msgspec.msgpack.decode(payload)
        if isinstance(tree, dict):
            return msgspec.msgpack.encode(mutated_tree(tree, random))
    except (msgspec.DecodeError, OverflowError, RecursionError, UnicodeError, ValueError, TypeError):
        pass  # not MessagePack, or a value that it cannot hold
    return _in_bytes(payload, seeds, random)


def mutated_tree(tree: Tree, random: Random) -> Tree:
    """The tree with one place changed, in place where that is possible."""
    parent, key = _place(tree, random)
    if parent is None:
        return random.choice(_WHOLE)(tree, random)
    random.choice(_PLACES)(parent, key, random)
    return tree


def _place(tree: Tree, random: Random) -> tuple[Any, Any]:
    """A container inside the tree and a key or index of it; (None, None) for the tree itself."""
    parent, key = None, None
    while isinstance(tree, dict | list) and tree and random.random() < 0.85:
        parent, key = tree, random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
        tree = parent[key]
    return parent, key


def _replace(parent: Any, key: Any, random: Random) -> None:
    parent[key] = random.choice(JUNK)


def _delete(parent: Any, key: Any, random: Random) -> None:  # noqa: ARG001 - the shape of a mutation
    del parent[key]


def _repeat(parent: Any, key: Any, random: Random) -> None:
    if isinstance(parent, list):
        parent[key:key] = [parent[key]] * random.choice((1, 2, 50))
    else:
        parent[key] = [parent[key]]


def _swap(parent: Any, key: Any, random: Random) -> None:
    other = random.choice(list(parent)) if isinstance(parent, dict) else random.randrange(len(parent))
    parent[key], parent[other] = parent[other], parent[key]


def _wrap(parent: Any, key: Any, random: Random) -> None:
    for _ in range(random.choice((1, 3, 80))):
        parent[key] = random.choice(([parent[key]], {"logprobs": parent[key]}))


def _rename(parent: Any, key: Any, random: Random) -> None:
    if isinstance(parent, dict):
        parent[random.choice(KEYS)] = parent.pop(key)


def _negate(parent: Any, key: Any, random: Random) -> None:
    value = parent[key]
    parent[key] = -value * random.choice((1, 1e9)) if isinstance(value, int | float) else random.choice(JUNK)


def _extreme(parent: Any, key: Any, random: Random) -> None:
    """Replace a number by an extreme one; in a list of numbers one or all of them."""
    value = parent[key]
    if isinstance(value, list) and value and all(isinstance(x, int | float | None) for x in value):
        _extreme(value, random.randrange(len(value)), random)
    elif isinstance(value, int | float) and isinstance(parent, list) and random.random() < 0.3:
        parent[:] = [random.choice(EXTREMES)] * len(parent)
    else:
        parent[key] = random.choice(EXTREMES)


def _fill(parent: Any, key: Any, random: Random) -> None:
    """Make every element of a list the same value."""
    if isinstance(parent[key], list):
        parent[key] = [random.choice(JUNK)] * len(parent[key])
    elif isinstance(parent, list):
        parent[:] = [random.choice(JUNK)] * len(parent)
    else:
        parent[key] = random.choice(JUNK)


def _shuffle_keys(tree: Tree, random: Random) -> Tree:
    if not isinstance(tree, dict):
        return random.choice(JUNK)
    pairs = list(tree.items())
    random.shuffle(pairs)
    return dict(pairs)


_PLACES: tuple[Callable[[Any, Any, Random], None], ...] = (
    _replace, _replace, _delete, _repeat, _swap, _wrap, _rename, _negate, _fill, _extreme, _extreme, _extreme,
)  # fmt: skip
_WHOLE: tuple[Callable[[Tree, Random], Tree], ...] = (
    _shuffle_keys, lambda tree, _: [tree], lambda tree, _: [tree, tree], lambda tree, _: {"response": tree},
    lambda tree, _: {"data": tree, "specversion": "1.0"},
)  # fmt: skip
KEYS = (
    "choices", "logprobs", "content", "token_logprobs", "top_logprobs", "meta_info", "details", "tokens", "candidates",
    "output", "message", "delta", "type", "completion_probabilities", "id", "usage", "completions", "signal", "body",
    "response", "data", "index", "done", "token", "finish_reason", "output_log_probs", "custom_id", "generated_text",
    "payload", "schema", "after", "op", "error", "text", "generation", "prob", "log_prob", "domain", "created",
    "entropy", "features", "packed", "usage", "metadata", "prompt_token_ids", "stop_reason",
)  # fmt: skip


def _in_bytes(payload: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    start = random.randrange(len(payload) + 1)
    stop = min(len(payload), start + random.choice((0, 1, 1, 4, 30)))
    other = random.choice(seeds)
    middle = random.choice((
        b"", random.choice(BITS_OF_BYTES), bytes([random.randrange(256)]), payload[start:stop] * random.choice((2, 20)),
        other[random.randrange(len(other) + 1) :],
    ))  # fmt: skip
    return payload[:start] + middle + payload[stop:]


def _truncate(payload: bytes, seeds: Sequence[bytes], random: Random) -> bytes:  # noqa: ARG001 - the shape of a mutation
    return payload[: random.randrange(len(payload) + 1)]


_MUTATIONS: tuple[Callable[[bytes, Sequence[bytes], Random], bytes], ...] = (
    _in_tree, _in_tree, _in_tree, _in_tree, _in_bytes, _truncate,
)  # fmt: skip
