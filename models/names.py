"""Names as people read them: two names that differ look different."""

from __future__ import annotations

import unicodedata


def shown(name: str) -> str:
    r"""The name, in quotes with escapes where it would otherwise look like another name or like nothing.

    >>> print(shown("billing"), shown("billing "), shown(""), shown("bill\u200bing"), shown("Zürich"))
    billing 'billing ' '' 'bill\u200bing' Zürich
    """
    plain = name and name.isprintable() and name == name.strip() and name[0] not in "'\""
    if plain and (name.isascii() or not any(map(_is_invisible, name))):
        return name
    escaped = "".join(_escaped(c) if not c.isprintable() or _is_invisible(c) else c for c in name)
    return f"'{escaped}'"


def _is_invisible(character: str) -> bool:
    """Whether a character cannot be seen, or looks like a space: a format character, or another space."""
    return unicodedata.category(character) in {"Cf", "Zs"} and character != " "


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
