"""Fitted files: what ``driftgauge fit`` writes and the setting ``context.start_from`` names.

A fitted file holds what a store holds of one context, and which features its classifiers learned from. All of it is
plain values in MessagePack; nothing is pickled.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from driftgauge.agent.core.context_state import ContextState
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.whole_file import whole_file
from driftgauge.models.signals.feature_sets import LAYOUTS

FORMAT = 1


def save_fit(path: Path, context: ContextState) -> None:
    """Write a context to a file. The file is either complete or unchanged.

    Raises
    ------
    ConnectorError
        When the file cannot be written.
    """
    spec = context.settings.features
    made = msgspec.msgpack.encode(["driftgauge-fit", FORMAT, spec.entropy, spec.width, context.snapshot()])
    try:
        with whole_file(path) as file:
            file.write(made)
    except OSError as error:
        raise ConnectorError(f"cannot write {path}: {error.strerror}", retriable=False) from error


def load_fit(path: Path, settings: PipelineSettings) -> bytes:
    """Read what `save_fit` wrote; `ContextState.restore` takes the bytes it returns.

    Raises
    ------
    ConnectorError
        When the file cannot be read, is not a fitted file, or was fitted to another entropy than ``settings`` compute.
        A fit to another set of features is brought to the configured one.
    """
    try:
        name, version, entropy, width, blob = msgspec.msgpack.decode(
            path.read_bytes(), type=tuple[str, int, str, int, bytes]
        )
        if (name, version) != ("driftgauge-fit", FORMAT):
            raise ValueError(f"it holds {name!r} in format {version}")
        if entropy != settings.features.entropy or width not in LAYOUTS:
            raise ValueError(f"it was fitted to {width} features of entropy {entropy!r}, the settings ask for others")
        ContextState.restore(settings, blob)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConnectorError(f"{path} is no fit to start from: {error}", retriable=False) from error
    return blob
