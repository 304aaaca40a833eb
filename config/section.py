"""The base of every group of settings, and the types of their fields.

The text under a field documents it, with its unit and the meaning of zero. `config/example.yaml` and the messages of
`ConfigError` are made from these definitions, so each setting is described in one place.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from driftgauge.config.plain_yaml import parse


class Section(BaseModel):
    """A group of settings: immutable; an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``yes`` and ``off`` for a number: YAML turns them into booleans, and Python those into 1 and 0."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation in (int, float):
            raise ValueError("must be a number, not a switch")
        return value


def _from_text(value: object) -> object:
    """Read a list or mapping from text, as environment variables and flags have it: ``a,b`` or YAML."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[", "{")):
        return parse(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


LISTED = BeforeValidator(_from_text)
"""Annotation for every field that is a list or a mapping."""

Names: TypeAlias = Annotated[tuple[str, ...], LISTED]
Texts: TypeAlias = Annotated[dict[str, str], LISTED]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=10 * 366 * 86_400)]
PositiveSeconds: TypeAlias = Annotated[float, Field(gt=0, le=10 * 366 * 86_400)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Shares: TypeAlias = Annotated[dict[str, Share], LISTED]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]
CountOrNone: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000_000)]
Port: TypeAlias = Annotated[int, Field(ge=0, le=65_535)]
