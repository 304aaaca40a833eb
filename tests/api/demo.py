"""A store that has something of everything: the bundled demo traffic, with periods short enough for every list."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from driftgauge.agent.demo.embedded import PLAN, STORE, bundled, settings_in
from driftgauge.agent.service import build, build_decoding, build_pipeline
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.replay import open_files
from driftgauge.connectors.testing import NoSink
from driftgauge.models.events import Label, Rejected

SHARED = pytest.mark.xdist_group("api demo")  # so that one worker makes the store, once

PERIOD_S = 1_250
REJECTED = [Rejected("malformed", f"not JSON at {n}", "generations", 0, n, value=b"hunter2") for n in range(25)]
PENDING = Label("lost", "0-CHAT-1732", 1_767_225_600.0, 1.0, source="thumbs")


def make_store(folder: Path) -> Path:
    """Replay the demo traffic into a store in this folder, some ten seconds."""
    settings = settings_in(folder, **{"acquisition.period_s": PERIOD_S, "slices.estimate": ["difficulty"]})
    with closing(build.store(settings)) as store:
        source = open_files(bundled(), PLAN, seed=0).source
        pipeline, decoder = build_pipeline.pipeline_settings(settings), build_decoding.decoder(settings)
        Loop(pipeline, decoder, store, lambda: source, NoSink).run()
        with store.transaction() as transaction:
            transaction.add_labels([PENDING])
            transaction.emit(REJECTED)
    return folder / STORE
