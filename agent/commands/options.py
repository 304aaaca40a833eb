"""Options and arguments that several commands share, and the values that they stand for."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML file with settings; environment variables and --set override it.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override one setting: --set windows.hop_s=60")]
StoreOption = Annotated[
    str, typer.Option("--store", help="Store URL or path of an SQLite file. Default: the setting store.url.")
]
ContextOption = Annotated[
    str | None, typer.Option(help="Fingerprint of a context; needed when the store has several contexts.")
]


def in_a_folder(path: Path | None) -> Path | None:
    """Check, before the work begins, that the folder of a file to write exists."""
    if path is not None and not path.absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder does not exist", str(path))
    return path


JsonOption = Annotated[
    Path | None, typer.Option("--json", callback=in_a_folder, help="Write the result to this file as JSON.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
FeatureSetOption = Annotated[
    Literal["published", "extended"], typer.Option(help="The 17 published features, or the 22 of the extended set.")
]
FilesArgument = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Files to read, in this order.")]
OptionalFilesArgument = Annotated[
    list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="Files to read, in this order.")
]


@contextmanager
def needs_aiohttp(what: str) -> Iterator[None]:
    """Turn a failed import of aiohttp within this context into an error that names the extra.

    ``what`` begins the message, with its verb: "webhooks need".
    """
    from driftgauge.connectors.base import ConnectorError

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("aiohttp", "multidict", "yarl"):
            raise
        raise ConnectorError(f"{what} aiohttp: pip install 'driftgauge[gateway]'", retriable=False) from None


def refuse_to_overwrite(sources: Iterable[Path], out: Path) -> None:
    """Raise a usage error when the file to write is one of those to read."""
    if out.exists() and any(source.exists() and source.samefile(out) for source in sources):
        raise typer.BadParameter(f"{out} is a file to read; it would be overwritten")


def settings_from(config: Path | None, overrides: list[str] | None) -> Settings:
    """Load the settings from file, environment and ``key=value`` flags.

    Raises
    ------
    ConfigError
        When any setting is wrong; the message lists all problems.
    """
    from driftgauge.config.load import load_settings

    pairs = [pair.partition("=") for pair in overrides or []]
    return load_settings(config, {key: value for key, _, value in pairs})


def store_url(given: str) -> str | None:
    """Return the store URL for a value of ``--store``: a URL, or the path of an SQLite file. None when it is empty."""
    if not given or "://" in given:
        return given or None
    return f"sqlite:///{given}"


def store_url_in(settings: Settings, given: str) -> str:
    """Return the URL of ``--store``, or that of the settings when the option is not given."""
    return store_url(given) or settings.store.url.get_secret_value()


def store_url_or_setting(given: str, config: Path | None, overrides: list[str] | None) -> str:
    """`store_url_in` for commands that need no other setting: with ``--store`` they load none."""
    return store_url(given) or settings_from(config, overrides).store.url.get_secret_value()
