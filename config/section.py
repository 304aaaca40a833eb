"""What every group of settings has in common, and the types their fields share.

A field is documented by the text under it: its unit, what zero means. `config/example.yaml` and the messages of
`ConfigError` are made from these definitions, so a setting is described in one place.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from driftgauge.config.plain_yaml import parse


class Section(BaseModel):
    """A group of settings: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``yes`` and ``off`` where a number is wanted: YAML makes booleans of them, Python 1 and 0."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation in (int, float):
            raise ValueError("must be a number, not a switch")
        return value


def _from_text(value: object) -> object:
    """Let environment variables and flags, which are text, say lists and mappings: ``a,b`` or as in YAML."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[", "{")):
        return parse(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


LISTED = BeforeValidator(_from_text)
"""Goes with every field that is a list or a mapping."""

Names: TypeAlias = Annotated[tuple[str, ...], LISTED]
Texts: TypeAlias = Annotated[dict[str, str], LISTED]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=10 * 366 * 86_400)]
PositiveSeconds: TypeAlias = Annotated[float, Field(gt=0, le=10 * 366 * 86_400)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Shares: TypeAlias = Annotated[dict[str, Share], LISTED]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]
CountOrNone: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000_000)]
Port: TypeAlias = Annotated[int, Field(ge=0, le=65_535)]
