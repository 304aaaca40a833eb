"""Checks of an answer against the known one. Pure: a text in, a value in [0, 1] out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

Check: TypeAlias = Callable[[str], float]
"""Takes the text of an answer; returns how far it is right, in [0, 1]."""

_NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+\u2212])?"  # a sign, but not the minus of a difference
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d+)?"
)


def exact(expected: str) -> Check:
    r"""Whether the answer is this text. White space around it does not count.

    >>> exact("Paris")(" Paris\n"), exact("Paris")("It is Paris.")
    (1.0, 0.0)
    """
    return lambda text: float(text.strip() == expected.strip())


def regex(pattern: str) -> Check:
    r"""Whether the pattern is found somewhere in the answer.

    >>> regex(r"(?i)\bparis\b")("It is PARIS.")
    1.0
    """
    found = re.compile(pattern).search
    return lambda text: float(found(text) is not None)


def numeric(expected: float, tolerance: float = 0.0) -> Check:
    """Whether the last number in the answer is this one. Commas between groups of three digits do not count.

    >>> numeric(1234.5, 0.1)("17 + 1,217.5 = 1,234.5"), numeric(-3)("x = -3."), numeric(3)("There are none.")
    (1.0, 1.0, 0.0)
    """
    return partial(_is_close, expected, tolerance)


def _is_close(expected: float, tolerance: float, text: str) -> float:
    found = _NUMBER.findall(text)
    if not found:
        return 0.0
    value = float(found[-1].replace(",", "").replace("\u2212", "-"))
    slack = tolerance + 1e-12 * abs(expected)  # 0.1 + 0.2 is 0.3
    return float(abs(value - expected) <= slack)


def by_function(function: Callable[[str], object]) -> Check:
    """What a function of the user returns: a truth value, or a number in [0, 1].

    The check raises `ValueError` when the function returns anything else, and what the function raises.
    """
    return partial(_checked, function)


def _checked(function: Callable[[str], object], text: str) -> float:
    value = function(text)
    if not isinstance(value, bool | int | float) or math.isnan(value) or not 0 <= value <= 1:
        raise ValueError("the function returned neither a truth value nor a number in [0, 1]")
    return float(value)
