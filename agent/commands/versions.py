"""``driftgauge versions`` and ``driftgauge rollback``: the classifier versions in a store, and going back to one.

`versions` only reads, so the agent may be running. `rollback` writes, so the agent must be stopped; a running agent
goes back when it is asked to through its API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer

from driftgauge.agent.commands.options import (
    ConfigOption,
    ContextOption,
    JsonOption,
    SetOption,
    StoreOption,
    settings_from,
    store_url_in,
    store_url_or_setting,
)
from driftgauge.agent.commands.terminal import print_line, print_table, write_json

HEADER = ("context", "version", "kind", "labels", "Brier", "AUROC", "calibration error", "digest", "why stored")


def versions(
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """List the classifier versions in a store, with how good each one was. The agent may be running."""
    from driftgauge.agent.outlets.versions import contexts_in, stored_versions
    from driftgauge.connectors.store.queries import open_queries

    with closing(open_queries(store_url_or_setting(store, config, overrides))) as queries:
        found = stored_versions(contexts_in(queries))
    print_table(version_table(found))
    write_json(out, found)


def rollback(
    number: Annotated[int, typer.Argument(help="A version that `driftgauge versions` lists.")],
    store: StoreOption = "",
    context: ContextOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Let a stored classifier version predict again. Stop the agent first, and pass the agent's own settings."""
    from driftgauge.agent.service import build, build_pipeline
    from driftgauge.agent.service.rollback import roll_back
    from driftgauge.connectors.store.queries import open_queries

    settings = settings_from(config, overrides)
    url = store_url_in(settings, store)
    open_queries(url).close()  # to open it for writing makes one
    with closing(build.store(settings, url)) as opened:
        name = roll_back(opened, build_pipeline.committee_settings(settings), number, context)
    print_line(f"version {number} predicts again in context {name}")


def version_table(versions: Iterable[Mapping[str, Any]]) -> list[Sequence[str]]:
    """Versions as rows of text, a header first. The version that predicts now has a star."""
    return [HEADER, *map(_line, versions)]


def _line(version: Mapping[str, Any]) -> list[str]:
    metric = version["metric"]
    scores = ["-" if metric[x] is None else f"{metric[x]:.3f}" for x in ("brier", "auroc", "calibration_error")]
    number = f"{version['number']}{'*' if version['predicts'] else ''}"
    labels = str(version["n_labels"])
    return [version["context"], number, version["kind"], labels, *scores, version["digest"], version["reason"]]
