"""A folder that finished files are put into: a file is complete or is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote
from uuid import uuid4

from driftgauge.connectors.base import ConnectorError


class Folder(Protocol):
    """A folder of files. Each call raises `ConnectorError` when the folder cannot be read or written."""

    def names(self) -> set[str]:
        """Return the names of the files; none where the folder does not exist yet."""
        ...

    def place(self, name: str) -> str:
        """Return the path or URL of a file."""
        ...

    def replace(self, name: str, content: bytes) -> str:
        """Write a file in place of one with the same name, if any; return its place."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless one with this name exists; of several writers exactly one gets True."""
        ...


def open_folder(place: str) -> Folder:
    """Return the folder at a path, or at a URL that fsspec knows; it is made with its first file.

    Raises
    ------
    ConnectorError
        When a package for this kind of URL is missing.

    Examples
    --------
    >>> open_folder("file:///var/reports").place("a.json"), open_folder("reports").place("a.json")
    ('/var/reports/a.json', 'reports/a.json')
    """
    scheme, separator, rest = place.partition("://")
    if separator and scheme != "file":
        from driftgauge.connectors.files.remote_folder import RemoteFolder

        return RemoteFolder(place)
    return LocalFolder(Path(unquote(rest) if separator else place))


class LocalFolder:
    """A folder of this machine, on a file system with hard links."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> set[str]:
        """Return the names of the files; none where the folder does not exist yet."""
        with self._errors():
            return {file.name for file in self._path.iterdir()} if self._path.exists() else set()

    def place(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._path / name)

    def replace(self, name: str, content: bytes) -> str:
        """Write a file in place of one with the same name, if any; return its path."""
        with self._written(name, content) as finished:
            return str(finished.replace(self._path / name))

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless one with this name exists; of several writers exactly one gets True."""
        with self._written(name, content) as finished:
            try:
                (self._path / name).hardlink_to(finished)
            except FileExistsError:
                return False
            return True

    @contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[Path]:
        """A complete file with a name that nobody else uses; what is left of it is deleted."""
        unfinished = self._path / f".{name}.{uuid4().hex}.part"
        with self._errors():
            self._path.mkdir(parents=True, exist_ok=True)
            try:
                unfinished.write_bytes(content)
                yield unfinished
            finally:
                unfinished.unlink(missing_ok=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConnectorError(f"folder {self._path}: {error.strerror}", retriable=True) from error
