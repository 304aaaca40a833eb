"""From the scores that labels carry to [0, 1]: a range of numbers, or words with their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from driftgauge.connectors.decoding.formats.payload import PayloadError

Score: TypeAlias = bool | int | float | str

_SPELLED = {**dict.fromkeys(("true", "t", "yes", "y"), True), **dict.fromkeys(("false", "f", "no", "n"), False)}


@dataclass(frozen=True)
class LabelScale:
    """Brings scores to [0, 1], where 1 is full truth.

    A truth value is 1 or 0 on every scale. Text is compared without regard to case and the white space around it. On a
    range of numbers, ``true``, ``yes``, ``false`` and ``no`` are truth values, also by their first letter; text that
    spells a number is that number; a percentage is that part of the way from the worst to the best score. Where words
    are configured, everything else than these words and truth values leaves the scale; a number is a word by its
    digits.

    Attributes
    ----------
    scale : the worst and the best score, in this order; or words with their values in [0, 1]

    Examples
    --------
    >>> stars, words = LabelScale((1, 5)), LabelScale({"good": 1.0, "so-so": 0.5, "bad": 0.0})
    >>> [stars.correctness(score) for score in (1, 4, "5", True)]
    [0.0, 0.75, 1.0, 1.0]
    >>> [words.correctness(word) for word in (" Good", "bad")]
    [1.0, 0.0]
    >>> LabelScale((-1, 1)).correctness(0), LabelScale((6, 1)).correctness(1)
    (0.5, 1.0)
    >>> LabelScale().correctness("85%"), LabelScale((6, 1)).correctness("100 %"), LabelScale().correctness("y")
    (0.85, 1.0, 1.0)
    """

    scale: tuple[float, float] | Mapping[str, float] = (0.0, 1.0)

    @cached_property
    def description(self) -> str:
        """The scale in words."""
        return ", ".join(self._values) if self._values else "{:g} to {:g}".format(*self.scale)

    @cached_property
    def _values(self) -> Mapping[str, float]:
        return {} if isinstance(self.scale, tuple) else {_word(word): value for word, value in self.scale.items()}

    def correctness(self, score: Score) -> float:
        """The score on [0, 1].

        Raises
        ------
        PayloadError
            The score leaves the scale.
        """
        value = _on_range(score, *self.scale) if isinstance(self.scale, tuple) else _of_word(score, self._values)
        if value is None:
            raise PayloadError("labels_out_of_scale", f"correct leaves the scale {self.description}: see labels.scale")
        return value


def _on_range(score: Score, worst: float, best: float) -> float | None:
    if isinstance(score, str):
        text = _word(score)
        if text.endswith("%"):
            return _on_range(text[:-1], 0, 100) if text[:-1] not in _SPELLED else None
        try:
            score = _SPELLED[text] if text in _SPELLED else float(text)
        except ValueError:
            return None
    if isinstance(score, bool):
        return float(score)
    if not min(worst, best) <= score <= max(worst, best):  # nor is NaN
        return None
    return (score - worst) / (best - worst)


def _of_word(score: Score, values: Mapping[str, float]) -> float | None:
    word = _word(score if isinstance(score, str) else f"{score:.15g}" if isinstance(score, float) else str(score))
    return values.get(word, float(score) if isinstance(score, bool) else None)


def _word(text: str) -> str:
    return text.strip().casefold()
