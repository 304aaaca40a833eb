"""Writes the example of a settings file, with the texts of all settings.

python -m driftgauge.config.example > config/example.yaml
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import BaseModel, SecretStr

from driftgauge.config.settings import Settings

WIDTH = 116
_HEAD = """\
# Every setting of driftgauge with its default. A file needs only the settings that differ. Names that end in _s are
# seconds, in _bytes bytes. Each can also be set in the environment (DRIFTGAUGE_WINDOWS__HOP_S=600) or as a flag
# (--set windows.hop_s=600); flags win over the environment, the environment over the file.
"""


def example() -> str:
    """The example file: every section and setting with its text, its allowed values and its default."""
    return "\n".join([_HEAD, *_section(Settings, 0)]) + "\n"


def _section(section: type[BaseModel], depth: int) -> Iterator[str]:
    indent = "  " * depth
    allowed = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _comment(inner.__doc__ or "", indent)
            yield f"{indent}{name}:"
            yield from _section(inner, depth + 1)
            if depth == 0:
                yield ""
        else:
            yield from _comment(field.description or "", indent)
            yield from _comment(_allowed(allowed[name]), indent)
            yield f"{indent}{name}: {_value(field.get_default(call_default_factory=True))}"


def _comment(text: str, indent: str) -> Iterator[str]:
    yield from wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _allowed(schema: dict[str, Any]) -> str:
    """The allowed values of a setting, where they are fewer than those of its type."""
    schema = schema.get("items", schema)
    if "enum" in schema:
        return f"One of {', '.join(schema['enum'])}."
    bounds = {
        "at least": schema.get("minimum"),
        "above": schema.get("exclusiveMinimum"),
        "at most": schema.get("maximum"),
        "below": schema.get("exclusiveMaximum"),
    }
    text = " and ".join(f"{word} {bound:.12g}" for word, bound in bounds.items() if bound is not None)
    return text and f"{text.capitalize()}."


def _value(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return json.dumps(str(value) if isinstance(value, Path) else value)


if __name__ == "__main__":
    print(example(), end="")
