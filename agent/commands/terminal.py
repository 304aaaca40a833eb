"""The terminal as commands see it: output, progress, and error messages with an exit code."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import Progress, TaskID

EXIT_FAILED, EXIT_WRONG_USAGE, EXIT_CONDITION = 1, 2, 3
PROGRESS_LINE_EVERY_S = 15.0

console = Console()
errors = Console(stderr=True)


def replace_what_cannot_be_shown() -> None:
    """Print a question mark for each character that the encoding of the output lacks, instead of failing."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.encoding.lower() != "utf-8":
        out.reconfigure(errors="replace")


def print_line(text: str) -> None:
    """Print one line as it is. It is never wrapped, because a program may read it."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_table(lines: Iterable[Sequence[str]]) -> None:
    """Print rows of text in columns. The first row is the header. No cell is cut, however narrow the terminal is."""
    rows = list(lines)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_line(text.rstrip())


def write_json(path: Path | None, value: object) -> None:
    """Write a JSON file; without a path, do nothing."""
    if path is not None:
        path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def stage_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show the progress of work in stages: as bars on a terminal, else as a line every 15 seconds.

    Yields
    ------
    show
        Call it with the name of the stage, the units done so far, and all units of the stage (None: not known).
    """
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}
        next_line = time.monotonic() + PROGRESS_LINE_EVERY_S

        def show(stage: str, done: int, total: int | None) -> None:
            nonlocal next_line
            if not errors.is_terminal and time.monotonic() >= next_line:
                next_line = time.monotonic() + PROGRESS_LINE_EVERY_S
                errors.print(f"{stage}: {done:,}" + ("" if total is None else f" of {total:,}"), highlight=False)
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show the progress of work in one stage.

    Yields
    ------
    advance
        Call it with the units done since the last call.
    """
    with stage_progress() as show:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            show(description, done, total)

        yield advance


def exit_with(message: str, code: int) -> NoReturn:
    """Print an error message and end the process."""
    errors.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def exit_on(error: Exception) -> NoReturn:
    """Print one clear message for an error that users can cause, and end the process; raise any other error again."""
    from driftgauge.config.load import ConfigError
    from driftgauge.connectors.base import ConnectorError, WrongSettingError
    from driftgauge.models.saved_format import NewerStateError

    match error:
        case ConfigError() | WrongSettingError():
            exit_with(str(error), EXIT_WRONG_USAGE)
        case ConnectorError() | NewerStateError():
            exit_with(str(error), EXIT_FAILED)
        case OSError():  # a file that cannot be written, a disk that is full
            exit_with(f"{error.filename or 'output'}: {error.strerror}", EXIT_FAILED)
    raise error
