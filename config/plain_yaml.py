"""YAML from untrusted files as plain values: bounded in size, depth and aliases; no error repeats its content.

YAML reads some words as something else than text: ``no`` as false, ``12`` as a number. A key is always text, so such a
key is an error, and `not_text` finds such values. Only the words that YAML reads as true, false or null are repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

MAX_BYTES, MAX_SCALAR, MAX_DEPTH, MAX_ALIASES = 256 * 1024, 4096, 10, 16
_OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
_KINDS = {
    "tag:yaml.org,2002:bool": "a switch",
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
}
_QUOTES_NO_VALUE = re.compile(
    r"expected '\W' or '\W', but got '(\W|<[a-z ]+>)'|found character '(\\t|\W)' that cannot start any token"
)


def parse(text: str | bytes) -> object:
    """Return the value of one YAML document.

    Raises
    ------
    ValueError
        When the text is not YAML, exceeds a bound, or has keys that are wrong. The message never repeats a value, which
        may be a password.

    Examples
    --------
    >>> parse("{port: 1}")
    {'port': 1}
    >>> parse("password: *hunter2")
    Traceback (most recent call last):
    ValueError: not valid YAML: found undefined alias (…) (line 1)
    >>> parse("hosts: [one, two")
    Traceback (most recent call last):
    ValueError: not valid YAML: expected ',' or ']', but got '<stream end>' (line 1)
    """
    value, problems = read(text)
    if problems:
        raise ValueError("; ".join(problems))
    return value


def read(text: str | bytes) -> tuple[object, list[str]]:
    """Return the value of one YAML document, and what is wrong with its keys, which are then read as text.

    Raises
    ------
    ValueError
        When the text is not YAML or exceeds a bound.

    Examples
    --------
    >>> read("{no: 1, 7: 2}")[1]
    ['a key is not text: YAML reads no as false: write it in quotes (line 1)', \
'a key is not text: YAML reads it as a number: write it in quotes (line 1)']
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        _check_shape(text)
        loader = _Loader(text)
        try:
            return loader.get_single_data(), loader.problems
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        problem = error.problem or ""
        if not _QUOTES_NO_VALUE.fullmatch(problem):
            problem = re.sub(r"'.*'|\".*\"", "(…)", problem)
        raise ValueError(f"not valid YAML: {problem}{_line(error.problem_mark)}") from None
    except yaml.YAMLError:
        raise ValueError("not valid YAML: not a text") from None


def _check_shape(text: str | bytes) -> None:
    """Check the bounds on the events of the parser, before any value is built."""
    depth = aliases = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels{_line(event.start_mark)}")
        if aliases > MAX_ALIASES:
            raise ValueError(f"more than {MAX_ALIASES} aliases{_line(event.start_mark)}")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise ValueError(f"a value longer than {MAX_SCALAR} characters{_line(event.start_mark)}")


def not_text(text: str | bytes, location: Sequence[str | int]) -> str:
    """Why the value at this place is not text, with its line and what to do; "" when it is text or not there.

    >>> not_text("a: {b: [yes]}", ("a", "b", 0))
    'YAML reads yes as true: write it in quotes (line 1)'
    """
    node = yaml.compose(text, yaml.SafeLoader)
    for part in location:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
    return _not_text(node)


def _not_text(node: yaml.Node | None) -> str:
    kind = _KINDS.get(node.tag) if isinstance(node, yaml.ScalarNode) else None
    if node is None or kind is None:
        return ""
    if kind in ("a switch", "null"):
        value = {"a switch": str(yaml.safe_load(node.value)).lower()}.get(kind, kind)
        return f"YAML reads {node.value or 'nothing'} as {value}: write it in quotes{_line(node.start_mark)}"
    return f"YAML reads it as {kind}: write it in quotes{_line(node.start_mark)}"


class _Loader(yaml.SafeLoader):
    """Builds plain values only. A key that is not text is noted; so is one given twice: YAML would keep the last."""

    def __init__(self, text: str | bytes) -> None:
        super().__init__(text)
        self.problems: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if problem := _not_text(key):
                self.problems.append(f"a key is not text: {problem}")
                key.tag = "tag:yaml.org,2002:str"
            if key.value in seen:
                self.problems.append(f"a key is given twice{_line(key.start_mark)}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _line(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1})"
