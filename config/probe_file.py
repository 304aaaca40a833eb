"""The file of probes: sets of prompts, each with an answer that a program can check. Trusted as settings are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Self, TypeAlias

from pydantic import Field, model_validator

from driftgauge.config.load import load_file
from driftgauge.config.section import Section

MAX_PROMPTS = 1_000
Id: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text: TypeAlias = Annotated[str, Field(min_length=1)]


class AnswerSettings(Section):
    """The known answer: exactly one of ``exact``, ``regex``, ``numeric`` and ``function``."""

    exact: Text | None = None
    """The whole answer, without the white space around it."""

    regex: Text | None = None
    """Regular expression that is found somewhere in the answer."""

    numeric: float | None = None
    """The last number in the answer."""

    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """Largest difference of a number that is right."""

    function: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """Function ``package.module:name`` that takes the answer and returns whether it is right, or a value in [0, 1]."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in ("exact", "regex", "numeric", "function") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of exact, regex, numeric and function, has {len(given)}")
        if self.tolerance and given != ["numeric"]:
            raise ValueError("tolerance belongs to numeric")
        try:
            re.compile(self.regex or "")
        except re.error as error:
            raise ValueError(f"regex is no regular expression: {error.msg}") from None
        return self


class PromptSettings(Section):
    """One prompt. Its id names it for ever: a changed prompt needs a new one."""

    id: Id
    prompt: Text
    answer: AnswerSettings


class SetSettings(Section):
    """Prompts that form one domain, ``probe:<name of the set>``."""

    system: str = ""
    """System message before each prompt; empty: none."""

    prompts: tuple[PromptSettings, ...]

    @model_validator(mode="after")
    def _prompts_have_ids_of_their_own(self) -> Self:
        if not self.prompts:
            raise ValueError("prompts is empty")
        doubles = [name for name, n in Counter(prompt.id for prompt in self.prompts).items() if n > 1]
        if doubles:
            raise ValueError(f"several prompts have the id {', '.join(doubles)}")
        return self


class ProbeFile(Section):
    """The sets of probes, by name."""

    sets: dict[Id, SetSettings]

    @model_validator(mode="after")
    def _some_but_not_too_many(self) -> Self:
        if not self.sets:
            raise ValueError("sets is empty")
        n = sum(len(found.prompts) for found in self.sets.values())
        if n > MAX_PROMPTS:
            raise ValueError(f"{n} prompts; at most {MAX_PROMPTS} are allowed")
        return self


def load_probes(path: Path) -> ProbeFile:
    """Read a file of probes.

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    return load_file(path, ProbeFile, "the probes")
