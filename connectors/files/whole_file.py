"""A file that is written as a whole: what a command reads or replaces is lost at no failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of ``path`` at the end; an error leaves what was there.

    What is no regular file, such as ``/dev/stdout``, is written to directly.

    Raises
    ------
    OSError
        When the file cannot be written; its ``filename`` is the path.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    place = path.resolve()  # of a link, the file that it names
    unfinished = place.with_name(f"{place.name}.part")
    try:
        try:
            file = unfinished.open("wb")
        except OSError as error:
            error.filename = str(path)
            raise
        with file:
            yield file
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)
