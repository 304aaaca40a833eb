"""Settings of labels without people: probes and judges. Both call a model server of the OpenAI kind."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from driftgauge.config.crontab import check_crontab
from driftgauge.config.gateway import ADDRESS_RULE, MAX_K, is_address
from driftgauge.config.section import CountOrZero, PositiveSeconds, Seconds, Section, is_variable

Temperature = Annotated[float, Field(ge=0, le=10)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
Money = Annotated[float, Field(ge=0, le=1e9)]


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
            raise ValueError(f"url {ADDRESS_RULE}")
        return self

    @field_validator("key_from")
    @classmethod
    def _name_of_a_variable(cls, name: str) -> str:
        if name and not is_variable(name):
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
        check_crontab(self.cron)
        return self


TEMPLATE = """\
Judge whether the answer to this question is correct.

$prompt

$response

The answer is correct if its statements are true and it does what the question asks. An answer that is mostly right \
but wrong in a point that matters is not correct. Style and length do not matter.
Reply with the JSON object {"correct": true} or {"correct": false}, and with nothing else."""


class JudgeSettings(EndpointSettings):
    """The judge, `driftgauge judge`: a model that labels a random part of the responses. It gets their texts."""

    model: str = ""
    """Model that judges, as requests name it; empty: no judge."""

    name: str = ""
    """Name of the judge in labels: a new one labels everything again. Empty: the name of the model."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the responses that is judged, drawn at random by a hash of the response id."""

    seed: int = 0
    """Seed of the draw: another one draws other responses."""

    template: str = TEMPLATE
    """What the judge is asked. `$prompt` and `$response` stand for the texts, between marks that no text can forge."""

    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    """Form of the answer that the server is asked to enforce. Answers are read strictly in any case."""

    temperature: Temperature | None = 0.0
    """Temperature of the requests; null: none is sent, as models that reason ask for."""

    max_answer_tokens: Tokens = 64
    """Largest number of tokens of a verdict, those of its reasoning included."""

    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name under which requests limit their tokens; newer models of OpenAI want max_completion_tokens."""

    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    """Largest number of requests at a time."""

    max_text_bytes: Annotated[int, Field(ge=1_024, le=1 << 24)] = 64 * 1024
    """Largest size of prompt and response together in bytes; responses beyond it are not judged, and counted."""

    max_calls_per_run: CountOrZero = 1_000
    """Largest number of requests of one run, repeated ones included; 0: no limit."""

    max_calls_per_day: CountOrZero = 5_000
    """Largest number of requests on one day (UTC); 0: no limit."""

    max_tokens_per_run: CountOrZero = 2_000_000
    """Largest number of tokens of one run, sent and received; 0: no limit."""

    max_tokens_per_day: CountOrZero = 10_000_000
    """Largest number of tokens on one day (UTC); 0: no limit."""

    price_sent: Money = 0.0
    """Price of a million tokens that are sent, in your currency; 0: they cost nothing."""

    price_received: Money = 0.0
    """Price of a million tokens that are received, in the same currency; 0: they cost nothing."""

    max_cost_per_run: Money = 0.0
    """Largest cost of one run, in the same currency; 0: no limit."""

    max_cost_per_day: Money = 0.0
    """Largest cost on one day (UTC), in the same currency; 0: no limit."""

    ledger: Path = Path("judge.ledger")
    """File that keeps verdicts and costs of the last 90 days: no response is paid for twice, and the limits of a day
    hold over several runs."""

    @field_validator("template")
    @classmethod
    def _names_the_response(cls, text: str) -> str:
        template = string.Template(text)
        if not template.is_valid() or not {"response"} <= {*template.get_identifiers()} <= {"prompt", "response"}:
            raise ValueError("must have $response, may have $prompt, and no other $ (write $$ for a dollar sign)")
        return text

    @model_validator(mode="after")
    def _a_cost_needs_a_price(self) -> Self:
        if (self.max_cost_per_run or self.max_cost_per_day) and not (self.price_sent or self.price_received):
            raise ValueError("max_cost_per_run and max_cost_per_day need price_sent or price_received")
        return self
