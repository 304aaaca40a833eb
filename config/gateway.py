"""Settings of the capture gateway, `driftgauge gateway`. It publishes to the cluster of the section `kafka`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from driftgauge.config.lookups import Lookups, LookupSettings
from driftgauge.config.section import (
    LISTED,
    Count,
    Names,
    Port,
    PositiveSeconds,
    Seconds,
    Section,
    Share,
    Shares,
    Texts,
)

KIB, MIB = 1024, 1024 * 1024
MAX_K = 20
"""Largest number of alternatives that common servers accept."""

ADDRESS_RULE = "must be http://host:port or https://host:port, without user, query and fragment"
"""What `is_address` asks of a text, for messages."""


class CaptureSettings(Section):
    """Which requests are asked for log-probabilities, and what the events contain."""

    models: Names = ()
    """Models, as requests name them, that are asked for log-probabilities; `*`: all. Empty: none is asked, and only the
    answers to clients that ask for log-probabilities themselves become events."""

    endpoints: Annotated[tuple[Literal["chat", "completions", "responses"], ...], LISTED] = (
        "chat",
        "completions",
        "responses",
    )
    """Endpoints whose answers become events: chat, completions, responses."""

    omits_logprobs: Annotated[tuple[Literal["chat", "completions"], ...], LISTED] = ()
    """Endpoints where the model server leaves out the field `logprobs` when nobody asks for it, so that clients see no
    difference: `chat` for llama.cpp, both for Ollama; empty: it is null, as with vLLM, SGLang, TGI and OpenAI."""

    k: Annotated[int, Field(ge=1, le=MAX_K)] = 5
    """Number of alternatives per token that the model server is asked for."""

    sampling: Share = 1.0
    """Share of the requests that are asked, drawn at random; 1: all, 0: none."""

    domain_sampling: Shares = Field(default_factory=dict)
    """Share of the requests of single domains, where it differs from `sampling`: `billing: 0.1`."""

    keep_text: bool = False
    """Whether events contain the text of answers."""

    keep_token_ids: bool = False
    """Whether events contain the ids of tokens, from which the text of answers can be recovered."""

    prompt_hash_key: SecretStr = SecretStr("")
    """Key of a hash of the prompt, by which recurring prompts can be found as the slice `prompt`; empty: no hash. It is
    never printed."""

    model_revision: str = ""
    """Revision of the model, which becomes part of the context of events; empty: not known."""

    logprobs_mode: str = ""
    """Mode of the server's log-probabilities, such as `raw_logprobs` for vLLM; empty: not known."""


class DomainSettings(Section):
    """Domain: header `driftgauge-domain`, path `/d/<domain>/…`, `found` (no paths: `metadata.domain`), then others."""

    found: LookupSettings = Field(default_factory=LookupSettings)

    keys: Texts = Field(default_factory=dict)
    """Domain by API key. The key stands as its SHA-256 in hexadecimal digits (`printf %s KEY | sha256sum`)."""

    models: Texts = Field(default_factory=dict)
    """Domain by model, as requests name it: `chat-large: support`."""

    function: str = ""
    """Function of yours that names the domain, as `package.module:function`; empty: none. See docs/gateway.md."""

    allowed: Names = ()
    """Allowed domains; empty: any, up to `max_domains`. Other requests get the default domain of the agent, and are
    counted."""

    max_domains: Count = 1_000
    """Largest number of domains of one worker; requests with a further one get the default domain, and are counted."""

    slices: Lookups = Field(default_factory=dict)
    """Slices of the domain, each found as a domain is: `language: metadata.lang`."""

    @field_validator("keys")
    @classmethod
    def _no_key_itself(cls, keys: dict[str, str]) -> dict[str, str]:
        if not all(re.fullmatch("[0-9a-fA-F]{64}", digest) for digest in keys):
            raise ValueError("must name each API key by its SHA-256, 64 hexadecimal digits: printf %s KEY | sha256sum")
        return keys


class GatewayLimitSettings(Section):
    """Bounds of one worker. Beyond them traffic is served as before, and events are dropped and counted."""

    max_request_bytes: Annotated[int, Field(ge=KIB, le=1024 * MIB)] = 4 * MIB
    """Largest request body in bytes that is read; a larger one is passed on unread, or refused by `POST /v1/events`."""

    max_body_bytes: Annotated[int, Field(ge=KIB, le=1024 * MIB)] = 8 * MIB
    """Largest answer in bytes, other than a stream, that is held back to take the log-probabilities out."""

    max_line_bytes: Annotated[int, Field(ge=KIB, le=64 * MIB)] = 8 * MIB
    """Largest line of a stream in bytes; a stream with a larger one is passed on unread from there. The last line of a
    stream of the Responses API repeats the whole answer."""

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Largest number of tokens of an answer that becomes an event: 20,000 with k = 20 make an event of 0.9 MB."""

    max_open_bytes: Annotated[int, Field(ge=MIB, le=64 * 1024 * MIB)] = 256 * MIB
    """Largest number of bytes that the unfinished answers hold together."""

    max_parser_bytes: Annotated[int, Field(ge=MIB, le=64 * 1024 * MIB)] = 32 * MIB
    """Largest number of bytes of answers that wait to be parsed."""

    max_outbox_bytes: Annotated[int, Field(ge=MIB, le=64 * 1024 * MIB)] = 64 * MIB
    """Largest number of bytes of events that are not acknowledged by the broker."""


class GatewaySettings(Section):
    """The capture gateway, `driftgauge gateway`: a proxy in front of one model server."""

    upstream: str = "http://127.0.0.1:8000"
    """Address of the model server, with or without `/v1`; a path in it is put before the path of each request."""

    upstream_cafile: str = ""
    """PEM file with the certificates to trust upstream; empty: the certificates of the system."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` opens the gateway to the network."""

    port: Port = 8080
    """Port to listen on; 0: any free port, which is written to the log."""

    tls_certfile: str = ""
    """PEM file with the certificate of the gateway; empty: it listens without TLS."""

    tls_keyfile: str = ""
    """PEM file with the private key of the certificate."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the port; one uses one core."""

    status_port: Port = 9465
    """Port of health, readiness and metrics, on `server.host`; further workers use the ports after it; 0: any free."""

    connect_timeout_s: PositiveSeconds = 5.0
    """Seconds to wait for a connection to the model server."""

    read_timeout_s: Seconds = 600.0
    """Seconds without a byte of the model server after which a request fails; 0: never."""

    keepalive_s: PositiveSeconds = 4.0
    """Seconds that an idle connection to the model server is kept: fewer than the server keeps it (vLLM: 5)."""

    drain_s: Seconds = 30.0
    """Seconds that open requests and events have to finish after SIGTERM; 0: they are cut off."""

    refused_pause_s: PositiveSeconds = 600.0
    """Seconds for which a kind of request is not asked after a refusal; they double with each further one, to a day."""

    labels_token: SecretStr = SecretStr("")
    """Token with which applications send labels to `POST /v1/labels`; empty: labels are not accepted. It is never
    printed."""

    events_token: SecretStr = SecretStr("")
    """Token with which LiteLLM posts its payloads to `POST /v1/events`; empty: they are not accepted. It is never
    printed."""

    capture: CaptureSettings = Field(default_factory=CaptureSettings)

    domain: DomainSettings = Field(default_factory=DomainSettings)

    limits: GatewayLimitSettings = Field(default_factory=GatewayLimitSettings)

    @field_validator("labels_token", "events_token")
    @classmethod
    def _without_white_space(cls, token: SecretStr) -> SecretStr:
        """Files and secrets often end with a line feed, which no client can send."""
        return SecretStr(token.get_secret_value().strip())

    @model_validator(mode="after")
    def _upstream_is_an_address(self) -> Self:
        if not is_address(self.upstream):
            raise ValueError(f"upstream {ADDRESS_RULE}")
        return self

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if bool(self.tls_certfile) != bool(self.tls_keyfile):
            raise ValueError("tls_certfile and tls_keyfile belong together")
        return self


def is_address(url: str) -> bool:
    """Whether a text is the address of a server: scheme, host and port, perhaps with a path."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    has_more = parts.query or parts.fragment or parts.username is not None
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and not has_more
