"""Payloads: every wire format becomes one or several choices, each with columns of generated tokens.

Formats only move values; `connectors/decoding/rules.py` interprets them (sentinels, fillers, duplicates, order).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any, TypeVar

from driftgauge.connectors.decoding.names import clean, name_of, problem_of_id
from driftgauge.models.events import SEGMENT_UNKNOWN, RejectReason

Item = TypeVar("Item")

EARLIEST, LATEST = 0.0, 4_102_444_800.0  # 1970 to 2100: other times are mistakes in a unit
EARLIEST_CREATED = 946_684_800.0
"""No model server answered before 2000: an earlier ``created`` is a mistake."""

_ZONE_NAME = re.compile(r" ?UTC$|(Z|[+-]\d\d:?\d\d)\[[\w/+-]+\]$")
_UNITS = (1.0, 1e3, 1e6, 1e9)  # seconds, milliseconds, microseconds, nanoseconds

MAX_COUNT = 2**31 - 2
"""The largest 32-bit integers, signed and not, stand for an unknown count on some servers."""

NOT_ANSWERS = frozenset({"queued", "in_progress", "load", "unload", "insufficient_system_resource"})
"""Reasons why generation ended that say that there is no answer; Ollama's ``load`` is a request without a prompt, and
DeepSeek ends what it interrupts with ``insufficient_system_resource``."""

_FAILURE = re.compile(
    r"(?<![^\W_])(error(ed)?|exception|fail(ed|ure)?|abort(ed)?|cancel(l?ed)?|time_?out|interrupt(ed)?|disconnect(ed)?"
    r"|preempt(ed)?)(?![^\W_])"
)
_USUAL_ENDS = frozenset({"stop", "length", "tool_calls", "eos"})
_LARGEST_EXACT = 2.0**53
_NO_WORDS = frozenset({"", "null", "none"})


class PayloadError(ValueError):
    """A document cannot be used. The text never quotes the payload."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: RejectReason = reason


@dataclass(slots=True)
class Tokens:
    """T generated tokens in order, as a server lists them, with their alternatives laid end to end.

    Attributes
    ----------
    chosen : (T,) log-probability of the sampled token; None where the payload has none
    counts : (T,) how many alternatives are listed
    top : (sum of counts,) their log-probabilities
    chosen_names, top_names : the identity of a token: its id (an integer) where there is one, else its text
    segments : (T,) ``SEGMENT_*``
    are_probabilities : the server sent probabilities, taken after the samplers; the values are their logarithms
    """

    chosen: list[Any] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    top: list[Any] = field(default_factory=list)
    chosen_names: list[Hashable] = field(default_factory=list)
    top_names: Sequence[Hashable] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    are_probabilities: bool = False

    def __len__(self) -> int:
        return len(self.chosen)

    def extend(self, *others: Tokens) -> None:
        """Append the tokens of the next pieces."""
        for other in others:
            self.chosen += other.chosen
            self.counts += other.counts
            self.top += other.top
            self.chosen_names += other.chosen_names
            self.segments += other.segments
            self.are_probabilities |= other.are_probabilities
        self.top_names = [*self.top_names, *chain.from_iterable(other.top_names for other in others)]

    def without_first(self, n: int) -> Tokens:
        """All but the first n tokens."""
        listed = sum(self.counts[:n])
        return Tokens(
            self.chosen[n:],
            self.counts[n:],
            self.top[listed:],
            self.chosen_names[n:],
            self.top_names[listed:],
            self.segments[n:],
            self.are_probabilities,
        )


def begins_with_prompt(listed: Sequence[Tokens], n_prompt: int, n_completion: int) -> bool:
    """Whether the tokens of each choice begin with those of an echoed prompt.

    More tokens than the generated ones are not enough, because servers also count wrongly. The first token of a prompt
    has no log-probability: null; or 0 on some servers, which then have to count exactly.
    """
    n_more = sum(map(len, listed)) - n_completion - len(listed) * n_prompt
    first = [tokens.chosen[0] for tokens in listed if len(tokens)]
    return bool(first) and n_more >= 0 and (not any(first) if n_more == 0 else set(first) == {None})


def tokens_of(
    rows: Iterable[tuple[Any, Hashable, Sequence[tuple[Any, Hashable]]]], segment: int = SEGMENT_UNKNOWN
) -> Tokens:
    """Columns from rows of (log-probability, name, alternatives as (log-probability, name)).

    >>> tokens_of([(-0.1, "a", [(-0.1, "a"), (-2.5, "b")])]).top
    [-0.1, -2.5]
    """
    tokens = Tokens(top_names=(names := []))
    for chosen, name, alternatives in rows:
        tokens.chosen.append(chosen)
        tokens.chosen_names.append(name)
        tokens.counts.append(len(alternatives))
        for logprob, alternative in alternatives:
            tokens.top.append(logprob)
            names.append(alternative)
    tokens.segments = [segment] * len(tokens)
    return tokens


def columns_of(
    chosen: Sequence[Item],
    rows: Sequence[Sequence[Item] | None],
    logprob: Callable[[Item], Any],
    names: Callable[[Sequence[Item]], list[Hashable]],
) -> Tokens:
    """Columns from generated tokens and their rows of alternatives; tokens beyond the last row have none.

    The same as `tokens_of` in a third of the time: ``logprob`` should be a C function (`operator.attrgetter`), and
    ``names`` takes all tokens at once.
    """
    listed = [row or () for row in (*rows[: len(chosen)], *[None] * (len(chosen) - len(rows)))]
    flat = [item for row in listed for item in row]
    return Tokens(
        chosen=[*map(logprob, chosen)],
        counts=[*map(len, listed)],
        top=[*map(logprob, flat)],
        chosen_names=names(chosen),
        top_names=names(flat),
        segments=[SEGMENT_UNKNOWN] * len(chosen),
    )


@dataclass(slots=True)
class Piece:
    """One choice of one payload: the whole choice, or the next part of a stream.

    Attributes
    ----------
    tokens : None where the payload has no log-probabilities (the request did not ask for them)
    position : number of tokens of the response before this piece; None where the format does not give it
    is_cumulative : it repeats everything sent before and adds to it
    is_repetition : it repeats tokens that earlier pieces may have sent
    has_reasoning : it has reasoning text apart from the answer text, although its tokens may not be apart
    n_without_logprobs : pieces joined in it that have text and no log-probabilities
    """

    index: int = 0
    tokens: Tokens | None = None
    finish_reason: str | None = None
    text: str = ""
    position: int | None = None
    is_last: bool = False
    is_cumulative: bool = False
    is_repetition: bool = False
    has_reasoning: bool = False
    n_completion: int | None = None
    n_without_logprobs: int = 0


@dataclass(slots=True)
class RequestParameters:
    """Parameters of the request, None where the payload lacks them: see `driftgauge.models.events.Context`."""

    revision: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    logprobs_mode: str | None = None
    k: int | None = None

    def updated(self, newer: RequestParameters) -> RequestParameters:
        """The newer parameters, and these where a newer one is None."""
        pairs = ((getattr(self, name), getattr(newer, name)) for name in self.__slots__)
        return RequestParameters(*(old if new is None else new for old, new in pairs))


@dataclass(slots=True)
class Payload:
    """One body, or one event of a stream. Its choices share the other fields.

    Attributes
    ----------
    is_part : an event of a stream
    is_keyed : only some events of such a stream carry the id, so the key of the record has to name the response
    n_prompt, n_completion, n_reasoning : counts of tokens; a value that cannot be a count becomes None, and a problem
    created : UTC seconds; a value before 2000 or after 2100 becomes None, and a problem
    usage_follows : an event with the token counts may follow the last token
    sequence : number of the event in its stream, from 0
    key, other_id : ids from an envelope: its partition key, and its own id, which is used last
    aliases : further ids of the response, such as the ``custom_id`` of a batch
    problems : fields that could not be used, by reason
    slices : parts of the domain that the response belongs to, by name
    misread_created : a ``created`` in another unit than seconds, as it was
    documents : the bytes that the payload was read from, for settings that name a path; several where the pieces of a
        stream were joined
    """

    pieces: list[Piece] = field(default_factory=list)
    id: str = ""
    model: str = ""
    created: float | None = None
    n_prompt: int | None = None
    n_completion: int | None = None
    n_reasoning: int | None = None
    parameters: RequestParameters = field(default_factory=RequestParameters)
    domain: str | None = None
    is_part: bool = False
    is_keyed: bool = False
    usage_follows: bool = False
    sequence: int | None = None
    key: str = ""
    other_id: str = ""
    aliases: list[str] = field(default_factory=list)
    problems: dict[str, int] = field(default_factory=dict)
    slices: dict[str, str] = field(default_factory=dict)
    misread_created: float | None = None
    documents: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        for name in ("n_prompt", "n_completion", "n_reasoning"):
            value = getattr(self, name)
            if value is not None and (count := count_of(value)) != value:
                setattr(self, name, count)
                if count is None:
                    self.problems["invalid_usage"] = self.problems.get("invalid_usage", 0) + 1
        if self.created in (None, "", 0):
            self.created = None
        else:
            created = moment_of(self.created)
            if created is None or not EARLIEST_CREATED <= created <= LATEST:
                self.problems["invalid_created"] = 1
                created, self.misread_created = None, created
            self.created = created

    def complete(self, *, created: object = None, domain: str | None = None, other_id: object = None) -> None:
        """Take from an envelope what the payload lacks."""
        moment = moment_of(created)
        if self.created is None and moment is not None and EARLIEST_CREATED <= moment <= LATEST:
            self.created = moment
        self.domain = self.domain or domain
        self.other_id = self.other_id or alias_of(other_id)

    @property
    def has_content(self) -> bool:
        """Whether any choice has tokens, text or a reason why it ended."""
        return any(piece.tokens is not None or piece.text or piece.finish_reason for piece in self.pieces)


def text_of(value: object) -> str:
    """The text, also of an integer; "" for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def word_of(value: object) -> str | None:
    """A short word such as a finish reason, also inside ``{"type": …}`` or ``{"reason": …}``; else None.

    >>> word_of("stop"), word_of({"type": "length"}), word_of("null")
    ('stop', 'length', None)
    """
    if isinstance(value, dict):
        value = value.get("type", value.get("reason"))
    word = clean(text_of(value))
    return None if word.casefold() in _NO_WORDS else word


def is_answer(finish_reason: str | None) -> bool:
    """Whether a response that ended like this is an answer.

    >>> is_answer("stop"), is_answer(None), is_answer("ERROR"), is_answer("network_error")
    (True, True, False, False)
    """
    if finish_reason is None or finish_reason in _USUAL_ENDS:
        return True
    word = finish_reason.casefold()
    return word not in NOT_ANSWERS and not _FAILURE.search(word)


def id_of(value: object) -> str:
    """An identifier; raises `PayloadError` for one that is too long or has control characters.

    >>> id_of("r-1"), id_of(17), id_of(17.0), id_of(True)
    ('r-1', '17', '17', '')
    """
    text = _identifier(value)
    if problem := problem_of_id(text):
        raise PayloadError("invalid_id", problem)
    return text


def alias_of(value: object) -> str:
    """A further identifier; "" for one that cannot be used."""
    text = _identifier(value)
    return "" if problem_of_id(text) else text


def _identifier(value: object) -> str:
    """The text; of a whole number its digits, also where a tool writes it with a fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT:
        return str(int(value))
    return text_of(value)


def count_of(value: object) -> int | None:
    """A count of tokens; None for a value that cannot be one.

    >>> count_of(3), count_of(3.0), count_of(-1), count_of("3"), count_of(2**31 - 1), count_of(None)
    (3, 3, None, None, None, None)
    """
    number = number_of(value)
    if number is None or not 0 <= number <= MAX_COUNT or number != int(number):
        return None
    return int(number)


def number_of(value: object) -> float | None:
    """A finite number; None for anything else.

    >>> number_of(0.5), number_of("0.5"), number_of(True)
    (0.5, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def moment_of(value: object) -> float | None:
    """UTC seconds since the epoch from a number, or from text; None where there is none (or 0).

    Text is a number, RFC 3339 (also with ``UTC`` or a zone in brackets after it, as databases and Java write it), or a
    date as in HTTP. Text without an offset is UTC.

    >>> moment_of("1970-01-01T00:01:00.123456789Z"), moment_of(1.5), moment_of("60"), moment_of(0)
    (60.123456, 1.5, 60.0, None)
    >>> moment_of("1970-01-01 00:01:00 UTC"), moment_of("Thu, 01 Jan 1970 00:01:00 GMT"), moment_of("soon")
    (60.0, 60.0, None)
    """
    if isinstance(value, str):
        try:
            return number_of(float(value)) or None
        except ValueError:
            pass
        try:
            parsed = _datetime_of(value.strip())
            value = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
        except (OverflowError, ValueError, TypeError, IndexError):
            return None
    return number_of(value) or None


def _datetime_of(text: str) -> datetime:
    """The time in this text; raises `ValueError`, or what the library raises for text that is none."""
    try:
        return datetime.fromisoformat(_ZONE_NAME.sub(r"\1", text))
    except ValueError:
        return parsedate_to_datetime(text)


def in_seconds(moment: float) -> float | None:
    """UTC seconds of a moment in seconds, milli-, micro- or nanoseconds; None where no unit is between 2000 and 2100.

    >>> in_seconds(1767607200.0), in_seconds(1767607200000.0), in_seconds(60.0)
    (1767607200.0, 1767607200.0, None)
    """
    return next((moment / unit for unit in _UNITS if EARLIEST_CREATED <= moment / unit <= LATEST), None)


def checked_time(seconds: float) -> float:
    """The same time; raises `PayloadError` for one before 1970 or after 2100, which is a mistake in the unit."""
    if not EARLIEST <= seconds <= LATEST:
        raise PayloadError("invalid_time", "event time is not between the years 1970 and 2100 (seconds are expected)")
    return seconds


def field_of(value: object, *path: str) -> Any:
    """The value at the end of a path through nested objects; None where the path does not exist."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def domain_of(*places: object) -> str | None:
    """The domain named in one of these objects."""
    for place in places:
        if name := name_of(field_of(place, "domain")):
            return name
    return None
