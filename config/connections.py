"""Settings of everything outside the core: Kafka, the encoding of its records, store, HTTP server, log."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from driftgauge.config.lookups import Lookups, LookupSettings
from driftgauge.config.section import Count, Names, Port, PositiveSeconds, Seconds, Section, Texts

KIB, MIB = 1024, 1024 * 1024


class KafkaTopicSettings(Section):
    """Kafka topics."""

    generations: Names = ("generations",)
    """Topics to read responses from, whole or in chunks. At least one."""

    labels: Names = ("labels",)
    """Topics to read labels from; may be empty."""

    estimates: str = "driftgauge.estimates"
    """Topic for estimates; empty: they are not published."""

    slice_estimates: str = "driftgauge.slice-estimates"
    """Topic for the estimates of slices that `slices.estimate` names; empty: they are not published."""

    alerts: str = "driftgauge.alerts"
    """Topic for alerts; empty: they are not published."""

    priorities: str = "driftgauge.priorities"
    """Topic for data lists; empty: they are not published."""

    label_lists: str = "driftgauge.label-lists"
    """Topic for the responses that should be labelled; empty: they are not published."""

    weak_segments: str = "driftgauge.weak-segments"
    """Topic for the slices that are worse than the rest of their domain; empty: they are not published."""

    predictions: str = "driftgauge.predictions"
    """Topic for the predictions that `predictions.publish` selects; empty: they are not published."""

    reports: str = "driftgauge.reports"
    """Topic that announces each written report; empty: they are not announced."""

    dead_letters: str = "driftgauge.dead-letters"
    """Topic for dead letters (records that could not be used) with the reason; empty: only the store keeps them."""

    @model_validator(mode="after")
    def _no_loop(self) -> Self:
        read = {*self.generations, *self.labels}
        written = {topic for name, topic in self if name not in ("generations", "labels")} - {""}
        if not self.generations:
            raise ValueError("generations must name at least one topic")
        if both := sorted(read & written):
            raise ValueError(f"{', '.join(both)} would be both read and written")
        return self

    @model_validator(mode="after")
    def _names_that_kafka_allows(self) -> Self:
        named = {*self.generations, *self.labels, *(topic for _, topic in self if topic and isinstance(topic, str))}
        if refused := sorted(topic for topic in named if not re.fullmatch(r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}", topic)):
            listed = ", ".join(map(repr, refused))
            text = f"Kafka allows no topic named {listed}: a name is up to 249 of A-Z, a-z, 0-9, `.`, `_`, `-`"
            raise ValueError(text)
        return self


class KafkaSettings(Section):
    """The Kafka cluster."""

    bootstrap_servers: Names = ("localhost:9092",)
    """Brokers to connect to first, each as `host:port`."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Protection of connections. SASL_PLAINTEXT encrypts nothing; with PLAIN it sends the password as clear text."""

    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """Authentication mechanism of the SASL protocols."""

    sasl_username: str = ""
    """User name for SASL."""

    sasl_password: SecretStr = SecretStr("")
    """Password for SASL; best set as DRIFTGAUGE_KAFKA__SASL_PASSWORD in the environment. It is never printed."""

    ssl_cafile: str = ""
    """PEM file with the certificates to trust; empty: the certificates of the system."""

    ssl_certfile: str = ""
    """PEM file with the client certificate for mutual TLS; empty: no client certificate."""

    ssl_keyfile: str = ""
    """PEM file with the private key of the client certificate; empty: no client certificate."""

    ssl_key_password: SecretStr = SecretStr("")
    """Password of the key file; empty: the file has no password. It is never printed."""

    ssl_check_hostname: bool = True
    """Whether the certificate of a broker must match the name in its address."""

    group_id: str = "driftgauge"
    """Consumer group whose offsets are committed for lag displays. The agent resumes from positions in its store."""

    client_id: str = "driftgauge"
    """Name of this client in logs and quotas of the brokers."""

    topics: KafkaTopicSettings = Field(default_factory=KafkaTopicSettings)

    create_topics: bool = False
    """Whether to create missing topics; otherwise the agent does not start when a topic is missing."""

    partitions: Count = 3
    """Number of partitions of a topic that the agent creates."""

    replication: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of replicas of a topic that the agent creates."""

    readers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that fetch, decode and compute features, each for a share of the partitions; 0: the agent itself."""

    max_records: Count = 500
    """Largest number of records in one batch."""

    max_bytes: Annotated[int, Field(ge=MIB, le=1024 * MIB)] = 16 * MIB
    """Largest number of bytes in one fetch, and approximately in one batch."""

    max_unpacked_bytes: Annotated[int, Field(ge=MIB, le=1024 * MIB)] = 256 * MIB
    """Largest size in bytes of a producer's batch once unpacked; a larger batch becomes one dead letter."""

    on_lost: Literal["fail", "earliest"] = "fail"
    """Reaction to records that were deleted from a topic before they were read: fail, or count them and continue. Also
    to a topic that was deleted and created again, or is in another cluster: fail, or read it from its beginning."""

    stall_timeout_s: Seconds = 60.0
    """Seconds without a record, while the broker has unread records, after which the client is replaced; 0: never."""

    connect_timeout_s: PositiveSeconds = 10.0
    """Seconds to wait for the first response of a broker."""

    patience_s: Seconds = 600.0
    """Seconds to wait for an unreachable broker or database before the agent stops with the cause; 0: stop at once."""

    pause_after_s: PositiveSeconds = 30.0
    """Seconds without a record after which pending estimates are emitted early."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.bootstrap_servers:
            raise ValueError("bootstrap_servers must name at least one broker")
        if self.security_protocol.startswith("SASL") and not self.sasl_username:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_username")
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise ValueError("ssl_certfile and ssl_keyfile belong together")
        return self


class LimitSettings(Section):
    """Bounds of one record; a record beyond one of them becomes a dead letter."""

    max_bytes: Annotated[int, Field(ge=KIB, le=1024 * MIB)] = 16 * MIB
    """Largest size of a record in bytes, also once decompressed."""

    max_tokens: Count = 1_000_000
    """Largest number of tokens of a response."""

    max_k: Annotated[int, Field(ge=1, le=100_000)] = 1_024
    """Largest number of alternatives per token."""

    max_choices: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Largest number of choices (`n`) of one payload."""


class DecodeSettings(Section):
    """Decoding of records into events."""

    format: str = "auto"
    """Wire format of generations, one of the names in docs/formats.md; auto: detected from the keys."""

    encoding: Literal["json", "msgpack"] = "json"
    """Encoding of records that have no content-type header."""

    topic_formats: Texts = Field(default_factory=dict)
    """Wire format of single topics, where it differs from `format`: `topic: name`."""

    ignored_content_types: Names = ()
    """Values of the header content-type that are passed over, such as `text/plain`; `encoding` holds for them."""

    payload: str = ""
    """Field that holds the payload, where something unknown wraps it: `response.body`; empty: the whole document."""

    response_id: Names = ()
    """Paths whose values together name a response: `key`, or `payload.id, payload.created`; empty: its own id."""

    aliases: Names = ()
    """Paths to further ids of a response, which labels may use: `metadata.trace_id`, `header.x-request-id`."""

    single_choice: bool = False
    """Whether streams have one choice each, whatever their events say in `index`."""

    domain: LookupSettings = Field(default_factory=LookupSettings)

    default_domain: str = "default"
    """Domain of responses without a domain; they are counted."""

    slices: Lookups = Field(default_factory=dict)
    """Slices of the domain, each found as a domain is: `language: metadata.lang`."""

    model_revision: LookupSettings = Field(default_factory=LookupSettings)

    keep_text: bool = False
    """Whether the store keeps the text of responses."""

    limits: LimitSettings = Field(default_factory=LimitSettings)


class StoreSettings(Section):
    """The database that holds all rows, state and positions."""

    url: SecretStr = SecretStr("sqlite:///driftgauge.db")
    """SQLAlchemy URL, `sqlite:///file` or `postgresql+psycopg://user:password@host/name`. A password is not printed."""

    synchronous: Literal["normal", "full"] = "normal"
    """SQLite only. After a loss of power, normal processes the last batches again, full does not but is slower."""

    retention_s: Seconds = 90 * 86_400.0
    """Seconds of event time after which responses and their labels are deleted; 0: never."""

    daily_retention_s: Seconds = 365 * 86_400.0
    """Seconds of event time after which the sums by day, which deleted responses leave, are deleted too; 0: never."""

    max_dead_letters: Count = 10_000
    """Largest number of dead letters in the store; beyond it the oldest are deleted and counted."""

    max_dead_letter_bytes: Annotated[int, Field(ge=MIB, le=1024 * 1024 * MIB)] = 256 * MIB
    """Largest number of bytes of dead letters in the store; beyond it the oldest are deleted and counted."""

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: SecretStr) -> SecretStr:
        kind, _, place = url.get_secret_value().partition("://")
        is_file = place.startswith("/") and place not in ("/", "/:memory:")
        if not {"sqlite": is_file, "postgresql": bool(place)}.get(kind.partition("+")[0]):
            raise ValueError("must be sqlite:///file.db or postgresql://user@host/name")
        return url


class TokenSettings(Section):
    """Tokens of the HTTP API by role, as the SHA-256 that `driftgauge token` prints; none: only loopback is served."""

    read: Names = ()
    """Tokens that may read: the dashboard and every GET."""

    label: Names = ()
    """Tokens that may post labels."""

    ingest: Names = ()
    """Tokens that may post generation events."""

    operate: Names = ()
    """Tokens that may go back to an earlier classifier version."""

    @field_validator("*")
    @classmethod
    def _no_token_itself(cls, digests: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch("[0-9a-fA-F]{64}", digest) for digest in digests):
            raise ValueError("must name each token by its SHA-256, 64 hexadecimal digits: see `driftgauge token`")
        return tuple(digest.lower() for digest in digests)


class ServerSettings(Section):
    """The HTTP server: dashboard, API, health, readiness and metrics."""

    enabled: bool = True
    """Whether the server runs."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` opens the server to the network."""

    port: Port = 9464
    """Port to listen on; 0: any free port, which is written to the log."""

    requests_per_s: Annotated[float, Field(ge=1, le=1_000_000)] = 1_000.0
    """Requests a second that one client address may send."""

    tokens: TokenSettings = Field(default_factory=TokenSettings)


class LoggingSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest severity of the messages of driftgauge. Of libraries only warnings and errors are written."""

    json_lines: bool = False
    """Whether each message is one JSON object; otherwise each is one line of text."""
