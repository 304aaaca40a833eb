"""Tasks as files: CSV to fill in, or JSON lines. A file is written as a whole, so to write it again changes nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from driftgauge.connectors.annotation.tasks import Task
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.tables import read_table
from driftgauge.connectors.files.whole_file import whole_file

ANSWERS = ("correct", "annotator_id", "event_time")
"""Empty columns of a CSV file, for the annotator; ``driftgauge labels import --from csv`` reads them."""

_CHANGED = re.compile(r"'*(?:[=+\-@\t\r]|(?![1-9]\d{0,10}$)\d[\d.,:/eE+ -]*$)")
"""What a spreadsheet takes for a formula, or for a number or a date that it writes in another way: 007, 1e5, 1/2. Also
behind apostrophes, so that an import can take the one away that is put before it."""


def write_tasks(path: Path, tasks: Sequence[Task], kind: Literal["csv", "jsonl"]) -> None:
    """Write a file, in the place of one that is there.

    Raises
    ------
    ConnectorError
        When the file is a table with answers that people wrote into it.
    """
    if kind == "csv" and path.is_file() and _has_answers(path):
        text = f"{path} has answers: import them and remove the file, or name another one with --out"
        raise ConnectorError(text, retriable=False)
    made = _csv(tasks) if kind == "csv" else _json_lines(tasks)
    with whole_file(path) as file:
        file.write(made)


def _has_answers(path: Path) -> bool:
    return any(row.get(name) for _, row in read_table(path) for name in ANSWERS)


def task_json(task: Task) -> bytes:
    """The fields of a task as JSON."""
    return msgspec.json.encode(task.data())


def _json_lines(tasks: Sequence[Task]) -> bytes:
    return b"".join(task_json(task) + b"\n" for task in tasks)


def _csv(tasks: Sequence[Task]) -> bytes:
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    for number, task in enumerate(tasks):
        data = {**task.data(), **dict.fromkeys(ANSWERS, "")}
        if number == 0:
            rows.writerow(data)
        rows.writerow(map(_plain, data.values()))
    return text.getvalue().encode()


def _plain(value: object) -> object:
    """A text that a spreadsheet leaves as it is: responses and ids may be anything."""
    return f"'{value}" if isinstance(value, str) and _CHANGED.match(value) else value
