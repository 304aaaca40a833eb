"""Settings of labels without people: probes, which call a model server of the OpenAI kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from driftgauge.config.crontab import parse_crontab
from driftgauge.config.gateway import MAX_K, is_address
from driftgauge.config.section import PositiveSeconds, Seconds, Section

Temperature = Annotated[float, Field(ge=0, le=10)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class EndpointSettings(Section):
    """A model server, and what requests to it have in common."""

    url: str = "http://127.0.0.1:8000"
    """Address of a model server or of the gateway before it, such as `https://api.openai.com`; `/v1/…` is added."""

    cafile: str = ""
    """PEM file with the certificates to trust; empty: the certificates of the system."""

    key_from: str = ""
    """Environment variable with the API key, not the key itself; empty: no key is sent."""

    timeout_s: PositiveSeconds = 120.0
    """Seconds that an answer may take."""

    @model_validator(mode="after")
    def _url_is_an_address(self) -> Self:
        if not is_address(self.url):
            raise ValueError("url must be http://host:port or https://host:port, without user, query and fragment")
        return self

    @field_validator("key_from")
    @classmethod
    def _name_of_a_variable(cls, name: str) -> str:
        if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("must be the name of an environment variable, not a key")
        return name


class ProbeSettings(EndpointSettings):
    """Probes, `driftgauge probe`: prompts with known answers that are sent to the model on a schedule."""

    file: str = ""
    """YAML file with the prompts and their answers; empty: no probes. See docs/judges_and_probes.md."""

    cron: str = "0 * * * *"
    """Times at which all prompts are sent, as a crontab line in UTC."""

    model: str = ""
    """Model, as requests name it; empty: the first that the server lists."""

    k: Annotated[int, Field(ge=1, le=MAX_K)] = 5
    """Number of alternatives per token that the server is asked for."""

    temperature: Temperature = 0.0
    """Temperature of the requests; 0: the likeliest token each time."""

    max_tokens: Tokens = 256
    """Largest number of tokens of an answer."""

    pause_s: Seconds = 1.0
    """Seconds between two prompts; 0: none."""

    allow_functions: bool = False
    """Whether the file may name Python functions that check answers. Such a function is run with all rights."""

    journal: Path = Path("probes.journal")
    """File that keeps the answers of the last run until they are published, so that none counts twice after a crash."""

    @model_validator(mode="after")
    def _cron_is_a_line(self) -> Self:
        try:
            parse_crontab(self.cron)
        except ValueError as error:
            raise ValueError(f"cron is not a crontab line: {error}") from None
        return self
