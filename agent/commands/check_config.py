"""``driftgauge check-config``: the effective settings, and a test of everything that they name.

A check changes nothing: it makes no topic, opens no store for writing and leaves no port in use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import typer
from rich.console import Console

from driftgauge.agent.commands import terminal
from driftgauge.agent.commands.options import ConfigOption, SetOption, settings_from

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings

Check: TypeAlias = "Callable[[Settings], str]"
"""Returns what it found; raises `ConnectorError` when the agent could not start with these settings."""


def check_config(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Print the effective settings without secrets, and test every connection."""
    if not check(settings_from(config, overrides), terminal.console):
        raise typer.Exit(terminal.EXIT_FAILED)


def check(settings: Settings, console: Console) -> bool:
    """Print the effective settings and the result of every check; return whether all checks passed."""
    console.print(effective(settings), markup=False, highlight=False, soft_wrap=True)
    has_passed = True
    for name, passed, text in results(settings):
        has_passed &= passed
        mark = "ok    " if passed else "FAILED"
        style = "green" if passed else "red"
        console.print(f"{mark} {name}: {text}", style=style, markup=False, highlight=False, soft_wrap=True)
    return has_passed


def effective(settings: Settings) -> str:
    """All settings as YAML. Secrets are replaced by stars; of the store's URL only the database's place is shown."""
    import yaml

    from driftgauge.connectors.base import ConnectorError
    from driftgauge.connectors.store.database import parse, shown

    tree = settings.model_dump(mode="json")
    with suppress(ConnectorError):  # the URL stays hidden, and the check of the store reports the error
        tree["store"]["url"] = shown(parse(settings.store.url.get_secret_value()))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def results(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    """Run the checks; yields the name of each, whether it passed, and what it found."""
    from driftgauge.connectors.base import ConnectorError

    for name, run in CHECKS.items():
        try:
            yield name, True, run(settings)
        except ConnectorError as error:
            yield name, False, str(error)


def check_store(settings: Settings) -> str:
    """Check that the store exists with a schema that this version can use, or that it can be created."""
    from driftgauge.connectors.store import migrations
    from driftgauge.connectors.store.database import folder_of, parse, reader_engine, shown, sqlite_path, translated

    url = parse(settings.store.url.get_secret_value())
    if url.get_backend_name() == "sqlite" and not sqlite_path(url).exists():
        return f"{shown(url)} is made at the first start; {_writable(folder_of(url))}"
    with translated(shown(url)), reader_engine(url).connect() as connection:
        found = migrations.schema_version(connection)
    if found is None:
        return f"{shown(url)} is empty; its tables are made at the first start"
    return f"{shown(url)} has schema version {found}"


def check_kafka(settings: Settings) -> str:
    """Check that the brokers accept the connection, and that the topics exist or would be created."""
    from driftgauge.agent.service import build
    from driftgauge.connectors.base import ConnectorError
    from driftgauge.connectors.kafka.client import check_connection
    from driftgauge.connectors.kafka.topics import existing_topics

    connection = build.connection(settings)
    check_connection(connection)
    unused = {""} if settings.predictions.publish != "none" else {"", settings.kafka.topics.predictions}
    read = {*build.topics_read(settings), *build.topics_extracted(settings)}
    wanted = {*read, *build.topics_written(settings).values()} - unused
    missing = ", ".join(sorted(wanted - existing_topics(connection)))
    servers = ", ".join(settings.kafka.bootstrap_servers)
    if not missing:
        return f"{servers} accepted the connection; all topics exist"
    if not settings.kafka.create_topics:
        text = (
            f"{servers} accepted the connection, but these topics do not exist: {missing} "
            "(kafka.create_topics would make them)"
        )
        raise ConnectorError(text, retriable=False)
    return f"{servers} accepted the connection; these topics are made at the first start: {missing}"


def check_decode(settings: Settings) -> str:
    """Check that there are formats of the names in the settings."""
    from driftgauge.agent.service import build_decoding

    return f"formats: {', '.join(build_decoding.format_names(settings))}"


def check_fit(settings: Settings) -> str:
    """Check that contexts can start from the fitted file, when one is configured."""
    from driftgauge.agent.service import build_pipeline

    build_pipeline.pipeline_settings(settings)
    return settings.context.start_from or "contexts start from nothing"


def check_report(settings: Settings) -> str:
    """Check that reports can be written, when any are scheduled; of a URL, that it can be read."""
    from driftgauge.connectors.base import ConnectorError
    from driftgauge.connectors.files.folder import open_folder

    if not settings.report.cron and not settings.report.interval_s:
        return "no reports are scheduled"
    place = settings.report.folder
    if "://" in place:
        n = len(open_folder(place).names())
        return f"{place} can be read ({n:,} files)"
    folder = Path(place).absolute()
    if folder.exists():
        return _writable(folder)
    if not folder.parent.exists():
        raise ConnectorError(f"{folder} cannot be made: the folder {folder.parent} does not exist", retriable=False)
    _writable(folder.parent)
    return f"{folder} is made with the first report"


def check_server(settings: Settings) -> str:
    """Check that the port of the HTTP server is free."""
    from driftgauge.agent.outlets.http import listen

    if not settings.server.enabled:
        return "off"
    listen(settings.server.host, settings.server.port).close()
    return f"{settings.server.host}:{settings.server.port} is free"


CHECKS: dict[str, Check] = {
    "store": check_store,
    "kafka": check_kafka,
    "decode": check_decode,
    "fit": check_fit,
    "report": check_report,
    "server": check_server,
}


def _writable(folder: Path) -> str:
    """Check that files can be made in a folder that exists."""
    from driftgauge.connectors.base import ConnectorError

    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ConnectorError(f"{folder} cannot be written", retriable=False)
    return f"{folder} can be written"
