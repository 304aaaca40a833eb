"""A folder of another system (S3, Google Cloud Storage, Azure, SFTP, …), through fsspec and its packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from driftgauge.connectors.base import ConnectorError

_MAX_CAUSE = 300


class RemoteFolder:
    """A folder at a URL that fsspec knows, such as ``s3://bucket/reports``.

    An object store shows a file when it is complete. S3 creates it for exactly one of several writers, as Google Cloud
    Storage and Azure should; of most other systems fsspec first asks whether the file exists.

    Raises
    ------
    ConnectorError
        When fsspec, or its package for this kind of URL, is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            from fsspec.core import url_to_fs

            found = url_to_fs(self._url)
        except ImportError as error:
            text = f"folder {self._url}: {error}; it needs the extra driftgauge[fsspec] and a package for such URLs"
            raise ConnectorError(text, retriable=False) from error
        except ValueError as error:
            raise ConnectorError(f"folder {self._url}: {error}", retriable=False) from error
        self._system: Any = found[0]
        self._path: str = found[1].rstrip("/")

    def names(self) -> set[str]:
        """Return the names of the files; none where the folder does not exist yet."""
        with self._errors():
            self._system.invalidate_cache()
            try:
                return {path.rstrip("/").rpartition("/")[2] for path in self._system.ls(self._path, detail=False)}
            except FileNotFoundError:
                return set()

    def place(self, name: str) -> str:
        """Return the URL of a file."""
        return f"{self._url}/{name}"

    def replace(self, name: str, content: bytes) -> str:
        """Write a file in place of one with the same name, if any; return its URL."""
        with self._errors():
            self._write(name, content, "overwrite")
        return self.place(name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless one with this name exists; of several writers exactly one gets True."""
        with self._errors():
            try:
                self._write(name, content, "create")
            except OSError:  # FileExistsError, but not from each package and each store
                self._system.invalidate_cache()
                if not self._system.exists(f"{self._path}/{name}"):
                    raise
                return False
            return True

    def _write(self, name: str, content: bytes, mode: str) -> None:
        """Write a file; make the folder where that is needed, but neither a folder above it nor a bucket."""
        path = f"{self._path}/{name}"
        try:
            self._system.pipe_file(path, content, mode=mode)
        except FileNotFoundError:
            if "/" not in self._path:
                raise
            self._system.mkdir(self._path, create_parents=False)
            self._system.pipe_file(path, content, mode=mode)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of any client library as one that names the folder; a later attempt may succeed."""
        try:
            yield
        except Exception as error:
            text = f"folder {self._url}: {type(error).__name__}: {error}"
            raise ConnectorError(text[: len(self._url) + _MAX_CAUSE], retriable=True) from error
