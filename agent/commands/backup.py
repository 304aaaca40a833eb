"""``driftgauge backup``: a copy of an SQLite store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftgauge.agent.commands.options import ConfigOption, SetOption, StoreOption, store_url_or_setting
from driftgauge.agent.commands.terminal import print_line


def backup(
    to: Annotated[Path, typer.Option("--to", dir_okay=False, help="Path of the copy; the file must not exist.")],
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Copy an SQLite store to a file. The agent may be running on the store."""
    from driftgauge.connectors.store.backup import backup as copy_store

    copy_store(store_url_or_setting(store, config, overrides), to)
    print_line(f"{to}: {to.stat().st_size:,} bytes")
