"""Settings of everything outside: Kafka, what its records look like, the store, reports, the HTTP server, the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from apscheduler.triggers.cron import CronTrigger
from pydantic import Field, SecretStr, model_validator

from driftgauge.config.section import (
    LISTED,
    Count,
    Names,
    Port,
    PositiveSeconds,
    Seconds,
    Section,
    Texts,
)

KIB, MIB = 1024, 1024 * 1024


class TopicSettings(Section):
    """Kafka topics."""

    generations: Names = ("generations",)
    """Topics with responses to read: whole ones and chunks. At least one."""

    labels: Names = ("labels",)
    """Topics with labels to read; may be empty."""

    estimates: str = "driftgauge.estimates"
    """Topic for estimates; empty: not published."""

    alerts: str = "driftgauge.alerts"
    """Topic for alerts; empty: not published."""

    priorities: str = "driftgauge.priorities"
    """Topic for lists of what to label next; empty: not published."""

    predictions: str = "driftgauge.predictions"
    """Topic for predictions, of which `predictions.publish` says how many; empty: not published."""

    dead_letters: str = "driftgauge.dead-letters"
    """Topic for records that could not be used, with the reason; empty: kept in the store only."""

    @model_validator(mode="after")
    def _no_loop(self) -> Self:
        read = {*self.generations, *self.labels}
        written = {topic for name, topic in self if name not in ("generations", "labels")} - {""}
        if not self.generations:
            raise ValueError("generations must name at least one topic")
        if both := sorted(read & written):
            raise ValueError(f"{', '.join(both)} would be both read and written")
        return self


class KafkaSettings(Section):
    """The Kafka cluster."""

    bootstrap_servers: Names = ("localhost:9092",)
    """Brokers to ask first, each as `host:port`."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How connections are protected; SASL_PLAINTEXT sends everything, with PLAIN the password too, in the clear."""

    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the password is proved, where the protocol is one of SASL."""

    sasl_username: str = ""
    """User name for SASL."""

    sasl_password: SecretStr = SecretStr("")
    """Password for SASL; best given as DRIFTGAUGE_KAFKA__SASL_PASSWORD. Never printed."""

    ssl_cafile: str = ""
    """PEM file with the certificates that are trusted; empty: those of the system."""

    ssl_certfile: str = ""
    """PEM file with our own certificate, for mutual TLS; empty: none."""

    ssl_keyfile: str = ""
    """PEM file with the key of our certificate; empty: none."""

    ssl_key_password: SecretStr = SecretStr("")
    """Password of the key file; empty: it has none. Never printed."""

    ssl_check_hostname: bool = True
    """Whether a broker's certificate must be for the name it was reached by."""

    group_id: str = "driftgauge"
    """Consumer group whose offsets are committed for lag displays; the positions that count are in the store."""

    client_id: str = "driftgauge"
    """Name by which brokers know this client in their logs and quotas."""

    topics: TopicSettings = Field(default_factory=TopicSettings)

    create_topics: bool = False
    """Whether to create topics that do not exist; otherwise a missing topic stops the start."""

    partitions: Count = 3
    """Partitions of a topic that is created."""

    replication: Annotated[int, Field(ge=1, le=100)] = 1
    """Replicas of a topic that is created."""

    readers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that fetch, decode and take features, each for a share of the partitions; 0: the agent does it."""

    max_records: Count = 500
    """Most records in one batch."""

    max_bytes: Annotated[int, Field(ge=MIB, le=1024 * MIB)] = 16 * MIB
    """Most bytes fetched at once, and so about the most a batch holds."""

    max_unpacked_bytes: Annotated[int, Field(ge=MIB, le=1024 * MIB)] = 256 * MIB
    """Most bytes a producer's compressed batch may unpack to; beyond them it becomes one dead letter."""

    on_lost: Literal["fail", "earliest"] = "fail"
    """What to do when records were deleted from a topic before they were read: stop, or count them and go on."""

    stall_timeout_s: Seconds = 60.0
    """Seconds without a record while records wait after which the consumer is made anew; 0: never."""

    connect_timeout_s: PositiveSeconds = 10.0
    """Seconds to wait for the first answer of a broker."""

    patience_s: Seconds = 600.0
    """Seconds to wait for a broker or database that went away before stopping with the cause; 0: stop at once."""

    pause_after_s: PositiveSeconds = 30.0
    """Seconds without any record after which the estimates that wait for the next boundary are said."""

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
    """Bounds of one record; beyond them it becomes a dead letter."""

    max_bytes: Annotated[int, Field(ge=KIB, le=1024 * MIB)] = 16 * MIB
    """Most bytes of a record, also once decompressed."""

    max_tokens: Count = 1_000_000
    """Most tokens of a response."""

    max_k: Annotated[int, Field(ge=1, le=100_000)] = 1_024
    """Most alternatives listed per token."""

    max_choices: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Most choices (`n`) of one payload."""


class DecodeSettings(Section):
    """How the bytes of a record become events."""

    format: str = "auto"
    """Wire format of generations, as `driftgauge decode` names it; auto: told by the keys found."""

    encoding: Literal["json", "msgpack"] = "json"
    """Encoding of records without a content-type header."""

    topic_formats: Texts = Field(default_factory=dict)
    """Wire format by topic, where it differs from `format`: `topic: name`."""

    default_domain: str = "default"
    """Domain of responses that name none."""

    keep_text: bool = False
    """Whether to keep the text of responses in the store."""

    limits: LimitSettings = Field(default_factory=LimitSettings)


class StoreSettings(Section):
    """The database that remembers everything."""

    url: SecretStr = SecretStr("sqlite:///driftgauge.db")
    """SQLAlchemy URL, `sqlite:///file` or `postgresql+psycopg://user:password@host/name`. Printed without password."""

    synchronous: Literal["normal", "full"] = "normal"
    """SQLite only; full: survives power loss without redoing work; normal: faster, redoes the last batches."""

    retention_s: Seconds = 90 * 86_400.0
    """Seconds of event time after which responses and their labels are dropped; 0: never."""

    max_dead_letters: Count = 10_000
    """Newest dead letters kept in the store; older ones make room and are counted."""

    max_dead_letter_bytes: Annotated[int, Field(ge=MIB, le=1024 * 1024 * MIB)] = 256 * MIB
    """Most bytes of dead letters kept in the store."""


class ReportSettings(Section):
    """The periodic report."""

    folder: Path = Path("reports")
    """Where reports are written."""

    cron: str = ""
    """When, as a crontab line in UTC: `0 6 * * *` is every day at six; empty: not by the clock."""

    interval_s: Seconds = 0.0
    """Seconds between reports, where there is no cron line; 0: none."""

    period_s: PositiveSeconds = 86_400.0
    """Seconds of event time that a report covers; the same span before it is compared with it."""

    formats: Annotated[tuple[Literal["markdown", "json"], ...], LISTED, Field(min_length=1)] = ("markdown", "json")
    """What to write: markdown, json."""

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if self.cron and self.interval_s:
            raise ValueError("cron and interval_s exclude each other")
        if self.cron:
            try:
                CronTrigger.from_crontab(self.cron)
            except ValueError as error:
                raise ValueError(f"cron is not a crontab line: {error}") from None
        return self


class ServerSettings(Section):
    """The HTTP server with health, readiness and metrics."""

    enabled: bool = True
    """Whether it runs."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` opens it to the network."""

    port: Port = 9464
    """Port to listen on; 0: any free one, written to the log."""


class LoggingSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe message that is written; debug concerns driftgauge itself, never its client libraries."""

    json_lines: bool = False
    """Whether each message is one JSON object; otherwise one line of text."""
