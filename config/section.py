"""The base of every group of settings, and the types of their fields.

The text under a field documents it, with its unit and the meaning of zero. `config/example.yaml` and the messages of
`ConfigError` are made from these definitions, so each setting is described in one place.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from driftgauge.config.plain_yaml import parse


class Section(BaseModel):
    """A group of settings: immutable; an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _a_group_may_be_empty(cls, value: Any) -> Any:
        """Accept a group without any setting, all of whose lines are comments, for example: YAML reads null."""
        return {} if value is None else value

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``yes`` and ``off`` for a number: YAML turns them into booleans, and Python those into 1 and 0."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation in (int, float):
            raise ValueError("must be a number, not a switch")
        return value


def is_variable(name: str) -> bool:
    """Whether a text can be the name of an environment variable.

    >>> is_variable("SLACK_URL"), is_variable("sk-123456")
    (True, False)
    """
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None


def _from_text(value: object) -> object:
    """Read a list or mapping from text, as environment variables and flags have it: ``a,b`` or YAML."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[", "{")):
        return parse(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


LISTED = BeforeValidator(_from_text)
"""Annotation for every field that is a list or a mapping."""


def _read_scale(value: object) -> tuple[float, float] | dict[str, float]:
    """The worst and the best score, or words with their values."""
    read = _from_text(value)
    if isinstance(read, dict):
        return _read_words(read)
    try:
        worst, best = map(float, read)  # type: ignore[call-overload]  # anything else than two numbers is an error below
    except (TypeError, ValueError):
        raise ValueError("must be two numbers, the worst and the best score, or words with their values") from None
    if not (math.isfinite(worst) and math.isfinite(best) and worst != best):
        raise ValueError("the worst and the best score must be two different numbers")
    return worst, best


def _read_words(words: dict[Any, Any]) -> dict[str, float]:
    if any(isinstance(word, bool) for word in words):
        raise ValueError("write words like yes and no in quotes: without them they are truth values, not words")
    try:
        values = {str(word): float(value) for word, value in words.items()}
    except (TypeError, ValueError):
        values = {}
    if not values or not all(0 <= value <= 1 for value in values.values()):
        raise ValueError("each word needs a value in [0, 1]: `good: 1, bad: 0`")
    if len({word.strip().casefold() for word in values}) < len(values):
        raise ValueError("two of the words differ only in case or white space, without regard to which labels are read")
    return values


ScoreScale: TypeAlias = Annotated[tuple[float, float] | dict[str, float], BeforeValidator(_read_scale)]
Names: TypeAlias = Annotated[tuple[str, ...], LISTED]
Texts: TypeAlias = Annotated[dict[str, str], LISTED]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=10 * 366 * 86_400)]
PositiveSeconds: TypeAlias = Annotated[float, Field(gt=0, le=10 * 366 * 86_400)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
NamesByPath: TypeAlias = Annotated[dict[str, Names], LISTED]
Shares: TypeAlias = Annotated[dict[str, Share], LISTED]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]
CountOrZero: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000_000)]
SecondsByName: TypeAlias = Annotated[dict[str, Seconds], LISTED]
CountsByName: TypeAlias = Annotated[dict[str, CountOrZero], LISTED]
Port: TypeAlias = Annotated[int, Field(ge=0, le=65_535)]
