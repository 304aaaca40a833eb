"""YAML from untrusted files as plain values: bounded in size, depth and aliases; no error repeats its content."""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_BYTES, MAX_SCALAR, MAX_DEPTH, MAX_ALIASES = 256 * 1024, 4096, 10, 16
_OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def parse(text: str | bytes) -> object:
    """Return the value of one YAML document.

    Raises
    ------
    ValueError
        When the text is not YAML or exceeds a bound. The message never repeats a value, which may be a password.

    Examples
    --------
    >>> parse("{port: 1}")
    {'port': 1}
    >>> parse("password: *hunter2")
    Traceback (most recent call last):
    ValueError: not valid YAML: found undefined alias (…) (line 1)
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        _check_shape(text)
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader that also refuses double keys
    except yaml.MarkedYAMLError as error:
        problem = re.sub(r"'.*'|\".*\"", "(…)", error.problem or "")
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


class _Loader(yaml.SafeLoader):
    """Builds plain values only, and refuses a repeated key; YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in seen:
                raise ValueError(f"a key is given twice{_line(key.start_mark)}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _line(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1})"
