"""``driftgauge spark``: Apache Spark in the place of extractors."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftgauge.agent.commands.options import ConfigOption, SetOption, settings_from

if TYPE_CHECKING:
    from pyspark.sql import SparkSession  # pyright: ignore[reportMissingImports] - an extra

app = typer.Typer(help="Reduce responses to their features with Apache Spark. See docs/spark.md.", no_args_is_help=True)

ConfOption = Annotated[
    list[str] | None, typer.Option("--conf", help="A setting of Spark: --conf spark.master=local[4]; may be repeated.")
]


@app.command()
def stream(
    checkpoint: Annotated[str, typer.Option(help="Folder in which the query keeps how far it is.")],
    max_records: Annotated[
        int, typer.Option(min=1, help="Records of one micro-batch: the work that is repeated at most.")
    ] = 100_000,
    available_now: Annotated[
        bool, typer.Option("--available-now", help="End when all records that are there now are published.")
    ] = False,
    conf: ConfOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Publish the features of the topics extract.topics to extract.to, as driftgauge extract does."""
    settings = settings_from(config, overrides)
    from driftgauge.agent.extraction import spark

    query = spark.stream(
        session(conf or []), settings, checkpoint, max_records=max_records, is_endless=not available_now
    )
    query.awaitTermination()


@app.command()
def backfill(
    paths: Annotated[
        list[str], typer.Argument(help="Stored raw records: files or folders, at any address that Spark knows.")
    ],
    out: Annotated[str, typer.Option(help="Folder for the files of features; it must not exist.")],
    form: Annotated[
        str, typer.Option("--format", help="text (JSON lines), parquet, or another format that this Spark can load.")
    ] = "parquet",
    value: Annotated[str, typer.Option(help="Column with the bodies.")] = "value",
    conf: ConfOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Write the features of stored records as JSON lines, in the order of event time: driftgauge replay reads them."""
    settings = settings_from(config, overrides)
    from driftgauge.agent.extraction import spark

    raw = session(conf or []).read.format(form).load(paths)
    spark.backfill(raw if value == "value" else raw.withColumnRenamed(value, "value"), settings, out)


def session(conf: list[str]) -> SparkSession:
    """The session of spark-submit, or a new one that fetches the connector of Kafka."""
    from driftgauge.connectors.base import ConnectorError

    try:
        import pyspark  # pyright: ignore[reportMissingImports] - an extra
        from pyspark.sql import SparkSession  # pyright: ignore[reportMissingImports] - an extra
    except ModuleNotFoundError:
        raise ConnectorError("this needs Apache Spark: pip install 'driftgauge[spark]'", retriable=False) from None
    given: dict[str, Any] = {name: text for name, _, text in (pair.partition("=") for pair in conf)}
    if "spark.jars" not in given:
        given.setdefault("spark.jars.packages", f"org.apache.spark:spark-sql-kafka-0-10_2.13:{pyspark.__version__}")
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit did not start this process
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkSession.builder.appName("driftgauge").config(map=given).getOrCreate()
