"""The streams of one record: pieces that belong together are put together, and answers that are mixed are refused.

A record may hold the whole stream of a response, event by event. Then what the events say can be held against each
other: ids that change with every event, an ``index`` that counts tokens, two choices under one index, an echo of the
prompt, an error at the end. Pieces that come as records of their own are put together later, by id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from driftgauge.connectors.decoding.formats.payload import (
    Payload,
    PayloadError,
    Piece,
    Tokens,
    begins_with_prompt,
    is_answer,
)

Value = TypeVar("Value")

_FEW = 4


def settle(payloads: Sequence[Payload], *, is_stream: bool) -> list[PayloadError]:
    """Put the pieces of one stream right, in place; returns an error for each response that was refused.

    Parameters
    ----------
    payloads : of one record, in order, up to an event that marks the end of a stream
    is_stream : they are server-sent events, not documents that happen to share a record
    """
    if len(payloads) < 2:
        return []
    _recognise_last_chunk(payloads)
    parts = [payload for payload in payloads if payload.is_part]
    if not parts:
        return []
    if len(parts) == len(payloads):
        _reunite_ids(parts, is_stream=is_stream)
    _ignore_token_numbers(parts)
    _count_positions_from_zero(parts)
    refused = {name: error for name, pieces in _choices(parts) if (error := _reason_to_refuse(pieces))}
    for payload in parts:
        payload.pieces = [piece for piece in payload.pieces if (payload.id, piece.index) not in refused]
    _cut_echoes(parts)
    return list(refused.values())


def _recognise_last_chunk(payloads: Sequence[Payload]) -> None:
    """A last chunk with token counts looks like a whole body; the id of the chunks before it says that it is none."""
    ids = {payload.id for payload in payloads if payload.is_part and payload.id}
    for payload in payloads:
        if payload.id in ids and not any(piece.is_cumulative or piece.is_repetition for piece in payload.pieces):
            payload.is_part = True


def _choices(parts: Sequence[Payload]) -> Iterator[tuple[tuple[str, int], list[tuple[Payload, Piece]]]]:
    """Pieces by id and index, those without an id left out: several streams without ids may follow each other."""
    found: dict[tuple[str, int], list[tuple[Payload, Piece]]] = defaultdict(list)
    for payload in parts:
        for piece in payload.pieces:
            found[payload.id, piece.index].append((payload, piece))
    for name, pieces in found.items():
        if name[0] or sum(piece.is_last for _, piece in pieces) == 1:
            yield name, pieces


def _n_ends(parts: Sequence[Payload]) -> int:
    """The most ends that any index has."""
    ends: dict[int, int] = defaultdict(int)
    for payload in parts:
        for piece in payload.pieces:
            ends[piece.index] += piece.is_last
    return max(ends.values(), default=0)


def _reunite_ids(parts: Sequence[Payload], *, is_stream: bool) -> None:
    """One id for all events where every event has another one, and there is one end.

    Some servers make an id for each step, which has several events. Documents that are not server-sent events may be
    pieces of many responses: there the end must be the last piece.
    """
    ids = [payload.id for payload in parts if payload.id]
    n_ids = len(set(ids))
    if n_ids < 2 or (len(ids) - n_ids > 1 and not (is_stream and 2 * n_ids > len(ids))):
        return
    n_ends, with_pieces = _n_ends(parts), [payload for payload in parts if payload.pieces]
    ends_it = bool(with_pieces) and any(piece.is_last for piece in with_pieces[-1].pieces)
    if n_ends > 1 or (not is_stream and not (n_ends and ends_it)):
        return
    for payload in parts:
        payload.aliases = [name for name in (payload.id, ids[-1]) if name and name != ids[0]]
        payload.id = ids[0]
        payload.problems["changing_id"] = 1


def _ignore_token_numbers(parts: Sequence[Payload]) -> None:
    """Index 0 for all events where the index counts tokens: it grows with every event, and there is one end."""
    single = [payload.pieces[0] for payload in parts if len(payload.pieces) == 1]
    numbers = [piece.index for piece in single if piece.tokens or piece.text]
    if len(numbers) < 2 or any(len(payload.pieces) > 1 for payload in parts):
        return
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        return
    n_ends = sum(piece.is_last for piece in single)
    if n_ends > 1 or (n_ends == 1 and not single[-1].is_last) or (not n_ends and len(numbers) < _FEW):
        return
    for payload in parts:
        for piece in payload.pieces:
            piece.index = 0
            payload.problems["index_counts_tokens"] = 1


def _count_positions_from_zero(parts: Sequence[Payload]) -> None:
    """The position of each token where its format counts from 1 and the server from 0: each is one too low then."""
    pieces = [piece for payload in parts for piece in payload.pieces if piece.tokens]
    if len(pieces) > 1 and [piece.position for piece in pieces] == [None, *range(len(pieces) - 1)]:
        for position, piece in enumerate(pieces):
            piece.position = position


def _reason_to_refuse(pieces: Sequence[tuple[Payload, Piece]]) -> PayloadError | None:
    has_ended = False
    for payload, piece in pieces:
        if not is_answer(piece.finish_reason):
            return PayloadError("error_response", f"the response ended with {piece.finish_reason}")
        if piece.is_repetition or piece.is_cumulative:
            continue
        if has_ended and (piece.tokens or piece.text or (piece.is_last and payload.n_completion is None)):
            return PayloadError("ambiguous_choices", "a choice goes on or ends again after its end: two share an index")
        has_ended = has_ended or piece.is_last
    return None


def _cut_echoes(parts: Sequence[Payload]) -> None:
    """Remove the tokens of an echoed prompt where the counts at the end show that there is one."""
    by_id: dict[str, list[Payload]] = defaultdict(list)
    for payload in parts:
        by_id[payload.id].append(payload)
    for payloads in by_id.values():
        pieces = [piece for payload in payloads for piece in payload.pieces if piece.tokens]
        n_prompt = next((p.n_prompt for p in reversed(payloads) if p.n_prompt is not None), None)
        n_completion = next((p.n_completion for p in reversed(payloads) if p.n_completion is not None), None)
        if not n_prompt or n_completion is None or len({piece.index for piece in pieces}) != 1:
            continue
        if any(piece.is_repetition or piece.is_cumulative for piece in pieces):
            continue
        of_choice = Tokens()
        of_choice.extend(*(piece.tokens for piece in pieces if piece.tokens))
        if begins_with_prompt([of_choice], n_prompt, n_completion):
            _drop_first(pieces, n_prompt)


def _drop_first(pieces: Sequence[Piece], n: int) -> None:
    for piece in pieces:
        if piece.tokens and n:
            n_here = min(n, len(piece.tokens))
            piece.tokens, n = piece.tokens.without_first(n_here), n - n_here


def join(payloads: Sequence[Payload]) -> list[Payload]:
    """Put the pieces of each choice into its first one, in place; returns the payloads whose only piece went there.

    The one piece makes the same response as the many: fields come from the first piece that has them, ends and token
    counts from the last. Numbered pieces stay apart, because their numbers find the lost ones. So do pieces without an
    id where there are several choices: ids are then made by the order of their ends.
    """
    choices = list(_choices([payload for payload in payloads if payload.is_part]))
    if sum(not name for (name, _), _ in choices) > 1:
        choices = [choice for choice in choices if choice[0][0]]
    joined = []
    for _, pieces in choices:
        of_choice = [payload for payload, _ in pieces]
        if len(pieces) > 1 and all(map(_can_be_joined, of_choice)) and len({p.key for p in of_choice}) == 1:
            _join(of_choice)
            joined += of_choice[1:]
    return joined


def _can_be_joined(payload: Payload) -> bool:
    if len(payload.pieces) != 1 or payload.sequence is not None or payload.is_keyed:
        return False
    piece = payload.pieces[0]
    return piece.position is None and not (piece.is_cumulative or piece.is_repetition)


def _join(payloads: Sequence[Payload]) -> None:
    """Put the only pieces of these payloads, and what only later payloads say, into the first one."""
    first, pieces = payloads[0], [payload.pieces[0] for payload in payloads]
    for payload in payloads[1:]:
        _complete(first, payload)
    first.documents = tuple(document for payload in payloads for document in payload.documents)
    first.usage_follows = all(p.usage_follows for p, piece in zip(payloads, pieces, strict=True) if piece.is_last)
    first.pieces = [_joined(pieces)]


def _complete(first: Payload, later: Payload) -> None:
    """Take what the first payload lacks from a later one; token counts and time are those of the latest."""
    for name in ("model", "domain", "other_id", "misread_created"):
        setattr(first, name, getattr(first, name) or getattr(later, name))
    for name in ("n_prompt", "n_completion", "n_reasoning"):
        newer = getattr(later, name)
        setattr(first, name, getattr(first, name) if newer is None else newer)
    if later.created is not None:
        first.created = max(first.created or later.created, later.created)
    if later.parameters != first.parameters:
        first.parameters = later.parameters.updated(first.parameters)
    first.aliases += later.aliases
    first.problems |= later.problems


def _joined(pieces: Sequence[Piece]) -> Piece:
    tokens = Tokens()
    tokens.extend(*(piece.tokens for piece in pieces if piece.tokens is not None))
    return Piece(
        index=pieces[0].index,
        tokens=None if all(piece.tokens is None for piece in pieces) else tokens,
        finish_reason=_latest(piece.finish_reason for piece in pieces),
        text="".join(piece.text for piece in pieces),
        is_last=any(piece.is_last for piece in pieces),
        has_reasoning=any(piece.has_reasoning for piece in pieces),
        n_completion=_latest(piece.n_completion for piece in pieces),
        n_without_logprobs=sum(bool(piece.text) and piece.tokens is None for piece in pieces),
    )


def _latest(values: Iterable[Value | None]) -> Value | None:
    """The last value that is not None."""
    return next((value for value in reversed([*values]) if value is not None), None)
