"""Links to the tools of users: a template with names in it, filled in with text that is safe in an address."""

from __future__ import annotations

import string
from collections.abc import Mapping

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")


def link_to(template: str, values: Mapping[str, str]) -> str | None:
    """The template with every ``{name}`` replaced by its value, escaped for an address. None without a template.

    >>> link_to("https://traces.example/{response_id}?d={domain}", {"response_id": "r/1", "domain": "law & tax"})
    'https://traces.example/r%2F1?d=law%20%26%20tax'
    """
    if not template:
        return None
    for name, value in values.items():
        template = template.replace("{" + name + "}", _escaped(value))  # no value holds a brace once it is escaped
    return template


def _escaped(text: str) -> str:
    """Percent-encoding (RFC 3986) of everything but unreserved characters."""
    return "".join(c if c in _UNRESERVED else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)
