"""Settings that say where a name is found in a record, and how it is rewritten."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from driftgauge.config.section import LISTED, Names, Section, Texts


class LookupSettings(Section):
    """Where a name is found in a record. A text or a list in the place of this section names the paths."""

    paths: Names = ()
    r"""Paths, the first with a value counts: `metadata.tenant`, `header.x-team`, `key`, `key.tenant`, `topic`."""

    values: Texts = Field(default_factory=dict)
    """Other names for values that are found: `"42": billing`."""

    patterns: Texts = Field(default_factory=dict)
    r"""Other names for values that match a regular expression as a whole: `'team-(.*)': '\1'`."""

    @model_validator(mode="before")
    @classmethod
    def _paths_alone(cls, value: Any) -> Any:
        if isinstance(value, bool | int | float):
            raise ValueError("must be a path or a list of paths; write a number, and words like no and yes, in quotes")
        return {"paths": value} if isinstance(value, str | list | tuple) else value

    @field_validator("values", mode="before")
    @classmethod
    def _numbers_are_text(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {str(key) if type(key) in (int, float) else key: name
                for key, name in values.items()}  # fmt: skip

    @model_validator(mode="after")
    def _patterns_are_expressions(self) -> Self:
        for pattern, template in self.patterns.items():
            try:
                compiled = re.compile(pattern)
                groups = [int(number) for number in re.findall(r"\\(\d+)", template)]
            except re.error as error:
                raise ValueError(f"a pattern is not a regular expression: {error.msg}") from None
            if any(number > compiled.groups for number in groups):
                raise ValueError("a pattern has fewer groups than its replacement names")
        return self


Lookups: TypeAlias = Annotated[dict[str, LookupSettings], LISTED]
