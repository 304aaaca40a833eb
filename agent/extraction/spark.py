"""Apache Spark in the place of extractors: from raw topics to the topic of features, and from stored records to files.

Settings are read on the driver; executors get one `RecordExtractor`. Spark keeps the positions of raw partitions in its
checkpoint and publishes each record at least once; the agent takes it once.

Order holds because nothing here divides or mixes partitions. A micro-batch has one task for each raw partition, which
publishes in order, and the next micro-batch begins when all have been acknowledged. An attempt of a task begins where
the micro-batch does, so an attempt that fails, is repeated, or runs twice repeats records and never skips one. The
producer never gives a message up, because it would go on with the messages behind it.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from driftgauge.agent import kafka_settings
from driftgauge.agent.extraction.build import warn_when_unread
from driftgauge.agent.service import build, build_decoding
from driftgauge.config.settings import Settings
from driftgauge.connectors.arrow_batches import HEADERS, LINE_COLUMNS, MESSAGE_COLUMNS, to_lines, to_messages
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.java_properties import java_properties
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.kafka.topics import largest_message

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession  # pyright: ignore[reportMissingImports] - an extra
    from pyspark.sql.streaming.query import StreamingQuery  # pyright: ignore[reportMissingImports] - an extra

COLUMNS = {
    "topic": "string", "partition": "int", "offset": "long", "timestamp": "timestamp", "key": "binary",
    "value": "binary", "headers": HEADERS,
}  # fmt: skip
"""Columns of Spark's Kafka source that are used, and their types."""
_NEVER_MS = 2**31 - 1
_BUFFER_BYTES = 32 << 20


def stream(
    spark: SparkSession,
    settings: Settings,
    checkpoint: str,
    *,
    max_records: int = 100_000,
    is_endless: bool = True,
) -> StreamingQuery:
    """Start a query that publishes the features of the raw topics ``extract.topics`` to ``extract.to``.

    Parameters
    ----------
    checkpoint : folder, at any address that Spark knows, where the query keeps how far it is; without one it begins
        with the first record of each partition
    max_records : records of one micro-batch, the work that is repeated at most
    is_endless : False: end when all records that are there now are published

    Raises
    ------
    ConnectorError
        The cluster cannot be reached, or a topic does not exist.
    """
    extract, connection = settings.extract, build.connection(settings)
    warn_when_unread(settings)
    if settings.kafka.create_topics:
        kafka_settings.topic_creation(settings.kafka, [*extract.topics, extract.to])()
    max_bytes = largest_message(connection, extract.to)
    source: dict[str, Any] = {
        **_kafka(connection),
        "kafka.isolation.level": "read_committed",
        "subscribe": ",".join(extract.topics),
        "startingOffsets": "earliest",
        "includeHeaders": True,
        "failOnDataLoss": settings.kafka.on_lost == "fail",
        "maxOffsetsPerTrigger": max_records,
    }
    raw = spark.readStream.format("kafka").options(**source).load().select(*COLUMNS)
    writer = (
        features(raw, settings, _n_partitions(connection, extract.to), max_bytes)
        .writeStream.format("kafka")
        .options(**_producer(connection, max_bytes), checkpointLocation=checkpoint)
        .queryName("driftgauge")
    )
    return (writer if is_endless else writer.trigger(availableNow=True)).start()


def features(raw: DataFrame, settings: Settings, n_partitions: int, max_bytes: int) -> DataFrame:
    """The messages of raw records, in their order: rows of Spark's Kafka sink."""
    _bound_batches(raw.sparkSession, settings)
    work: Any = partial(
        to_messages, extractor=build_decoding.record_extractor(settings), topic=settings.extract.to,
        n_partitions=n_partitions, max_bytes=max_bytes,
    )  # fmt: skip
    return raw.mapInArrow(work, MESSAGE_COLUMNS)


def _bound_batches(spark: SparkSession, settings: Settings) -> None:
    """Bound what an executor has in memory: one batch of Arrow."""
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", settings.kafka.max_records)
    spark.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", settings.kafka.max_bytes)


def _producer(connection: KafkaConnection, max_bytes: int) -> dict[str, Any]:
    return {
        **_kafka(connection),
        "kafka.acks": "all",
        "kafka.enable.idempotence": True,
        "kafka.delivery.timeout.ms": _NEVER_MS,
        "kafka.compression.type": "lz4",
        "kafka.max.request.size": 2 * max_bytes,  # the size was checked before
        "kafka.buffer.memory": max(_BUFFER_BYTES, 4 * max_bytes),
    }


def _kafka(connection: KafkaConnection) -> dict[str, str]:
    return {f"kafka.{name}": value for name, value in java_properties(connection).items()}


def _n_partitions(connection: KafkaConnection, topic: str) -> int:
    with closing(KafkaSink(connection)) as sink:
        return sink.n_partitions(topic)


def backfill(raw: DataFrame, settings: Settings, folder: str) -> None:
    """Write the features of stored records as files of JSON lines, in the order of event time, for a replay.

    Parameters
    ----------
    raw : ``value``, text or binary; ``topic``, ``partition``, ``offset``, ``timestamp``, ``key`` and ``headers`` where
        they are known, with the types of Spark's Kafka source
    folder : where to write, at any address that Spark knows; it must not exist. The files ``part-*.txt.gz`` are in
        order by their names
    """
    _bound_batches(raw.sparkSession, settings)
    work: Any = partial(to_lines, extractor=build_decoding.record_extractor(settings))
    lines = _complete(raw).mapInArrow(work, LINE_COLUMNS).orderBy("event_time", "number")
    lines.select("value").write.text(folder, compression="gzip")


def _complete(raw: DataFrame) -> DataFrame:
    """The columns of Kafka; those that are missing say nothing, and the offset is a number of the row."""
    from pyspark.sql import functions  # pyright: ignore[reportMissingImports] - an extra

    defaults = {
        "topic": functions.lit(""), "partition": functions.lit(0), "offset": functions.monotonically_increasing_id(),
        "timestamp": functions.lit(0).cast("timestamp"), "key": functions.lit(None), "headers": functions.lit(None),
    }  # fmt: skip
    found = {name: functions.col(name) for name in (*defaults, "value") if name in raw.columns}
    if "value" not in found:
        raise ConnectorError(f"there is no column `value` among {', '.join(raw.columns)}", retriable=False)
    columns = {**defaults, **found}
    return raw.select(*(columns[name].cast(kind).alias(name) for name, kind in COLUMNS.items()))
