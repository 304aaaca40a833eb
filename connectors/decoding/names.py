"""Names from untrusted text: domains, slices, models and ids, cleaned so that equal names are equal and safe to store.

Rules: numbers count as text; white space around a name is removed; Unicode is composed (NFC), so that two spellings of
the same characters are one name; control characters become U+FFFD, because PostgreSQL stores no NUL; a name beyond
`MAX_NAME_LENGTH` is shortened with a digest, so that two long names stay two.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata

MAX_NAME_LENGTH = 256
MAX_ID_LENGTH = 512

_REPLACEMENT = "\ufffd"
_UNPRINTABLE = frozenset({"Cc", "Cs"})  # control characters, and halves of a surrogate pair


def name_of(value: object) -> str:
    """The name in a text, a number or a truth value; "" for anything else.

    >>> name_of(" billing "), name_of(42), name_of(42.0), name_of(True), name_of(None), name_of(["x"])
    ('billing', '42', '42', 'true', '', '')
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return clean(str(value))
    return f"{value:.15g}" if isinstance(value, float) and math.isfinite(value) else ""


def clean(text: str) -> str:
    r"""The text as a name.

    >>> clean("a\x00b"), clean("e\u0301") == "\u00e9", len(clean("x" * 1000))
    ('a�b', True, 256)
    """
    if len(text) <= MAX_NAME_LENGTH and text.isascii() and text.isprintable():
        return text.strip()
    text = unicodedata.normalize("NFC", without_controls(text).strip())
    if len(text) <= MAX_NAME_LENGTH:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{text[: MAX_NAME_LENGTH - len(digest) - 1]}…{digest}"


def without_controls(text: str) -> str:
    """The text with U+FFFD for each control character except line breaks and tabs inside it."""
    if text.isprintable():
        return text
    return "".join(
        _REPLACEMENT if unicodedata.category(character) in _UNPRINTABLE and character not in "\t\n\r" else character
        for character in text
    )


def has_controls(text: str) -> bool:
    """Whether there is a control character in the text."""
    return not text.isprintable() and any(unicodedata.category(character) in _UNPRINTABLE for character in text)


def problem_of_id(text: str) -> str | None:
    r"""Why the text cannot name a response or a label; None where it can.

    >>> problem_of_id("r-1"), problem_of_id("r\x00")
    (None, 'an id with a control character (NUL, for example)')
    """
    if len(text) > MAX_ID_LENGTH:
        return f"an id of {len(text)} characters; the bound is {MAX_ID_LENGTH}"
    if has_controls(text):
        return "an id with a control character (NUL, for example)"
    return None
