"""Labels that wait for their response: how many, since when, and why each may have met none.

A label that is written a little differently from its response waits for ever. The ids of known responses tell the
likeliest cause.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Cause: TypeAlias = Literal["ambiguous", "white_space", "choice", "case", "never_seen"]

DESCRIPTIONS: Mapping[Cause, str] = {
    "ambiguous": "several responses have this name as an alias",
    "white_space": "a response has this id without the white space",
    "choice": "a response has this id with another number of the choice (#0)",
    "case": "a response has this id in upper or lower case",
    "never_seen": "no response with an id like this was seen",
}
"""What is true of the name that a label gives, as part of a sentence."""

_CHOICE = re.compile(r"#\d+$")


@dataclass(frozen=True, slots=True)
class PendingLabels:
    """Labels whose response has not come.

    Attributes
    ----------
    n : how many there are
    oldest : event time of the oldest one; None without any
    causes : likeliest cause -> number of labels, of the oldest labels
    examples : for each cause that a known response shows: the name that a label gives, and the id of the response
    """

    n: int
    oldest: float | None
    causes: Mapping[Cause, int] = field(default_factory=dict)
    examples: Mapping[Cause, tuple[str, str]] = field(default_factory=dict)


def explained(n: int, oldest: float | None, names: Iterable[str], known: Names) -> PendingLabels:
    """Pending labels with the likeliest cause for each of these names.

    >>> pending = explained(3, 60.0, ["R-1", "r-2#0", "x"], Names(["r-1", "r-2"]))
    >>> pending.causes, pending.examples
    ({'case': 1, 'choice': 1, 'never_seen': 1}, {'case': ('R-1', 'r-1'), 'choice': ('r-2#0', 'r-2')})
    """
    causes: Counter[Cause] = Counter()
    examples: dict[Cause, tuple[str, str]] = {}
    for name in names:
        cause, alike = known.cause(name)
        causes[cause] += 1
        if alike is not None:
            examples.setdefault(cause, (name, alike))
    return PendingLabels(n, oldest, dict(causes), examples)


class Names:
    """Names of known responses, to compare a name with that belongs to none of them.

    Parameters
    ----------
    ids : ids of responses, and aliases that name one
    ambiguous : aliases that several responses have
    """

    def __init__(self, ids: Iterable[str], ambiguous: Collection[str] = ()) -> None:
        self._alike = {_loose(known): known for known in ids}
        self._ambiguous = ambiguous

    def cause(self, name: str) -> tuple[Cause, str | None]:
        """The likeliest cause why a name belongs to no response, and the known id that is like it, if any.

        >>> known = Names(["r-1", "AbC#0"], ["tenant"])
        >>> [known.cause(name)[0] for name in ("tenant", " r-1", "AbC", "abc#0", "x")]
        ['ambiguous', 'white_space', 'choice', 'case', 'never_seen']
        """
        if name in self._ambiguous:
            return "ambiguous", None
        alike = self._alike.get(_loose(name))
        if alike is None:
            return "never_seen", None
        if name.strip() == alike.strip():
            return "white_space", alike
        return ("choice" if _of_all_choices(name) == _of_all_choices(alike) else "case"), alike


def spellings(name: str) -> set[str]:
    """Ids that the response of this name may have instead.

    >>> sorted(spellings("R-1"))
    ['R-1#0', 'r-1', 'r-1#0']
    """
    base = _of_all_choices(name)
    written = {name.strip(), base, f"{base}#0"}
    return {word for text in written for word in (text, text.lower(), text.upper())} - {name}


def _loose(name: str) -> str:
    return _of_all_choices(name).casefold()


def _of_all_choices(name: str) -> str:
    return _CHOICE.sub("", name.strip())
