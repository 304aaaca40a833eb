"""HTML and SVG as text: elements whose content is escaped unless it is markup itself. Pure and without state."""

from __future__ import annotations

from html import escape

_VOID = {"meta"}
_JOINERS = "\u200d\u200c"  # they hold emoji and some scripts together


class Markup(str):
    """Text that is markup already, so that it is not escaped again."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str | float | None) -> Markup:
    """An element with its content.

    Parameters
    ----------
    content : `Markup` as it is; any other text is escaped, and characters that cannot be printed are replaced
    attributes : ``class_`` is written class, ``aria_label`` aria-label; one that is None is left out

    Examples
    --------
    >>> element("td", "<b>law", element("b", "!"), class_="name", title=None)
    '<td class="name">&lt;b&gt;law<b>!</b></td>'
    """
    named = (
        f' {name.rstrip("_").replace("_", "-")}="{_text(value if isinstance(value, str) else number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    opening = f"<{tag}{''.join(named)}>"
    return Markup(opening if tag in _VOID else f"{opening}{joined(*content)}</{tag}>")


def joined(*content: str) -> Markup:
    """Some content without an element around it.

    >>> joined("a < b", element("b", "c"))
    'a &lt; b<b>c</b>'
    """
    return Markup("".join(part if isinstance(part, Markup) else _text(part) for part in content))


def number(value: float) -> str:
    """A number with at most one decimal: enough for a position in a picture.

    >>> number(2.0), number(2.26), number(-0.01)
    ('2', '2.3', '0')
    """
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _text(text: str) -> str:
    """Text in one line, escaped, without control characters and without marks that turn the direction of writing.

    A lone half of a surrogate pair cannot be printed either, so the page can always be encoded.
    """
    clean = "".join(c if c.isprintable() or c in _JOINERS else " " if c.isspace() else "\ufffd" for c in text)
    return escape(clean)
