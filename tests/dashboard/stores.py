"""Stores to look at: that of the demo with every kind of output, and one with 1,000 domains."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from driftgauge.agent.demo.embedded import PLAN, bundled, settings_in
from driftgauge.agent.service import build
from driftgauge.agent.service.replay import open_files, run_with_table
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.models.outputs import Alert, Estimate, Output
from tests.store.examples import estimate, rejected, weak_segments

TARGETS: Mapping[str, Any] = {"targets.default": 0.35, "targets.domains": {"sub": 0.5, "date": 0.5}}
"""With these targets the domains of the demo have every verdict, and labels prove that one is below its target."""

LINK = "https://tool.example/{response_id}"

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "line one\nline two\ttab",
    "emoji 👩‍👩‍👧 \u202eturned\u202c",
    "x" * 256,
    "javascript:alert(1)//&view=alerts#quality",
)


def emit(url: str, *outputs: Output) -> None:
    """Write outputs into a store, as the agent does."""
    with closing(open_store(url, topics=Topics())) as store, store.transaction() as transaction:
        transaction.emit(outputs)


def newest(url: str) -> list[Estimate]:
    """The newest estimate of each series."""
    with closing(open_queries(url)) as queries:
        return queries.latest_estimates()


def demo_store(folder: Path) -> str:
    """The demo with lists, slices, weak segments and rejected records."""
    lists = {"acquisition.period_s": 1_250, "acquisition.link": LINK, "slices.estimate": ["difficulty"]}
    lists |= {"alerts.link": "https://tool.example/{kind}"}
    settings = settings_in(folder, **TARGETS, **lists)
    with closing(build.store(settings)) as store:
        run_with_table(open_files(bundled(), PLAN, 0), settings, store, Console(file=io.StringIO()))
    url = settings.store.url.get_secret_value()
    date = next(made for made in newest(url) if made.domain == "date")
    segments = weak_segments(date.window_end, date.domain, date.fingerprint)
    emit(url, segments, *(rejected(offset, detail="<b>at byte</b> 3") for offset in range(3)))
    return url


def hostile_store(url: str) -> None:
    """Domains whose names try to be anything but text."""
    emit(url, *(estimate(domain=name) for name in HOSTILE))


def large_store(url: str, n_domains: int, n_windows: int) -> None:
    """Many domains, each with some windows, one in ten with an alert."""
    emit(url, *_many(n_domains, n_windows))


def _many(n_domains: int, n_windows: int) -> Iterator[Output]:
    for window in range(n_windows):
        end = 3_600.0 * (window + 1)
        for number in range(n_domains):
            accuracy = 0.55 + 0.4 * ((number * 37 + window) % 100) / 100
            made = estimate(domain=f"domain-{number:04}", window_start=end - 3_600.0, window_end=end, watermark=end)
            yield replace(made, accuracy=accuracy, ci_low=accuracy - 0.05, ci_high=min(accuracy + 0.05, 1.0))
    for number in range(0, n_domains, 10):
        name = f"domain-{number:04}"
        yield Alert(
            kind="drift", severity="warning", domain=name, fingerprint="f1", event_time=3_600.0, since=None,
            what="p_correct", before=0.8, after=0.7, message=f"p_correct of {name} moved", number=number + 1,
        )  # fmt: skip
