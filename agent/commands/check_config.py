"""What ``driftgauge check-config`` does: show the effective settings and try everything they name.

Nothing is changed: no topic is made, no store is opened for writing, no port stays taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import yaml
from rich.console import Console

from driftgauge.agent.outlets.http import Server
from driftgauge.agent.service import build
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.client import existing_topics, test_connection
from driftgauge.connectors.store import migrations
from driftgauge.connectors.store.database import parse, reader_engine, shown, sqlite_path, translated

Check: TypeAlias = Callable[[Settings], str]
"""Says what it found; raises `ConnectorError` when the agent could not start like this."""


def check(settings: Settings, console: Console) -> bool:
    """Print the effective settings and the result of every check; return whether all of them passed."""
    console.print(effective(settings), markup=False, highlight=False, soft_wrap=True)
    has_passed = True
    for name, passed, text in results(settings):
        has_passed &= passed
        mark = "ok    " if passed else "FAILED"
        style = "green" if passed else "red"
        console.print(f"{mark} {name}: {text}", style=style, markup=False, highlight=False, soft_wrap=True)
    return has_passed


def effective(settings: Settings) -> str:
    """All settings as YAML. Secrets are stars, and of the store's URL only what names the database is shown."""
    tree = settings.model_dump(mode="json")
    with suppress(ConnectorError):  # then the stars stay, and the check of the store says what is wrong
        tree["store"]["url"] = shown(parse(settings.store.url.get_secret_value()))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def results(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    """Name, whether it passed, and what was found, check by check."""
    for name, run in CHECKS.items():
        try:
            yield name, True, run(settings)
        except ConnectorError as error:
            yield name, False, str(error)


def check_store(settings: Settings) -> str:
    """Say whether the store is there, with a schema this version can use, or can be made."""
    url = parse(settings.store.url.get_secret_value())
    if url.get_backend_name() == "sqlite" and not sqlite_path(url).exists():
        return f"{shown(url)} is made at the first start; {_writable(sqlite_path(url).absolute().parent)}"
    with translated(shown(url)), reader_engine(url).connect() as connection:
        found = migrations.schema_version(connection)
    if found is None:
        return f"{shown(url)} is empty; its tables are made at the first start"
    migrations.check_version(found)
    return f"{shown(url)} has schema version {found}"


def check_kafka(settings: Settings) -> str:
    """Say whether the brokers let us in and the topics exist, or would be made."""
    reached = build.connection(settings)
    test_connection(reached)
    unused = {""} if settings.predictions.publish != "none" else {"", settings.kafka.topics.predictions}
    wanted = {*build.topics_read(settings), *build.topics_written(settings).values()} - unused
    missing = ", ".join(sorted(wanted - existing_topics(reached)))
    servers = ", ".join(settings.kafka.bootstrap_servers)
    if not missing:
        return f"{servers} let us in; all topics exist"
    if not settings.kafka.create_topics:
        text = f"{servers} let us in, but these topics do not exist: {missing} (kafka.create_topics would make them)"
        raise ConnectorError(text, retriable=False)
    return f"{servers} let us in; made at the first start: {missing}"


def check_fit(settings: Settings) -> str:
    """Say whether contexts can start from the fitted file, where there is one."""
    build.pipeline_settings(settings)
    return settings.context.start_from or "contexts start from nothing"


def check_report(settings: Settings) -> str:
    """Say whether reports can be written."""
    if not settings.report.cron and not settings.report.interval_s:
        return "none on schedule"
    return _writable(settings.report.folder.absolute())


def check_server(settings: Settings) -> str:
    """Say whether the port is free."""
    if not settings.server.enabled:
        return "off"
    Server(settings.server.host, settings.server.port, {}).close()
    return f"{settings.server.host}:{settings.server.port} is free"


CHECKS: dict[str, Check] = {
    "store": check_store,
    "kafka": check_kafka,
    "fit": check_fit,
    "report": check_report,
    "server": check_server,
}


def _writable(folder: Path) -> str:
    """Say that files can be made in a folder, or that the folder itself can be made."""
    present = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        raise ConnectorError(f"{folder} cannot be written", retriable=False)
    return f"{folder} can be written"
