"""Prompts and responses from a file of the user: driftgauge itself keeps none unless it is asked to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftgauge.connectors.annotation.tasks import Texts
from driftgauge.connectors.labels.reading import read_documents


def read_texts(path: str, names: Mapping[str, str]) -> dict[str, Texts]:
    """The texts in a file that are wanted, by response id; the last of several counts.

    Parameters
    ----------
    path : JSON, JSON lines, CSV or Parquet with the fields response_id, prompt and response
    names : the response id for each name of a wanted response

    Raises
    ------
    ConnectorError
        When the file cannot be read.
    """
    found: dict[str, Texts] = {}
    for document in read_documents(path):
        for row in document.content if isinstance(document.content, list) else [document.content]:
            if isinstance(row, dict) and (response_id := names.get(str(row.get("response_id")))):
                found[response_id] = Texts(_text(row, "prompt"), _text(row, "response"))
    return found


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) else None
