"""``driftgauge silence``: alerts that are not to be delivered for a while."""

from __future__ import annotations

import fnmatch
import time
from contextlib import closing
from difflib import get_close_matches
from typing import Annotated

import typer

from driftgauge.agent.commands.options import ConfigOption, SetOption, StoreOption, store_url_or_setting
from driftgauge.agent.commands.terminal import EXIT_FAILED, exit_with, print_line, print_table

app = typer.Typer(help="Keep alerts from being delivered for a while, for a stated reason.", no_args_is_help=True)

MAX_HOURS = 24 * 366


@app.command("add")
def add(
    hours: Annotated[float, typer.Option(min=0.01, max=MAX_HOURS, help="How long from now.")],
    reason: Annotated[str, typer.Option(help="Why, for others.")],
    kind: Annotated[str, typer.Option(help="Kinds of alerts, * and ? are wild; empty: all.")] = "",
    domain: Annotated[str, typer.Option(help="Domains, * and ? are wild; empty: all.")] = "",
    slices: Annotated[str, typer.Option("--slice", help="Slices, * and ? are wild; empty: all.")] = "",
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Silence the alerts that match all of kind, domain and slice. They stay in the store and on the topic."""
    from driftgauge.connectors.store.silences import add_silence
    from driftgauge.models.alerts.guide import ACTIONS
    from driftgauge.models.alerts.silence import Silence

    if not reason.strip():
        raise typer.BadParameter("must not be empty", param_hint="--reason")
    if kind and not fnmatch.filter(ACTIONS, kind):
        close = get_close_matches(kind, ACTIONS, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(ACTIONS)}"
        raise typer.BadParameter(f"no kind of alert matches {kind!r}{hint}", param_hint="--kind")
    silence = Silence(time.time() + hours * 3_600, reason, kind, domain, slices)
    number = add_silence(store_url_or_setting(store, config, overrides), silence)
    print_line(f"silence {number} until {_moment(silence.until)}")


@app.command("list")
def list_silences(store: StoreOption = "", config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Show the silences that have not ended."""
    from driftgauge.connectors.store.queries import open_queries
    from driftgauge.connectors.store.silences import silences
    from driftgauge.models.names import shown

    with closing(open_queries(store_url_or_setting(store, config, overrides))) as queries:
        found = silences(queries, time.time())
    lines = [("number", "kind", "domain", "slice", "until", "reason")]
    for one in found:
        kind, domain, slices = (shown(pattern or "*") for pattern in (one.kind, one.domain, one.slice))
        lines.append((str(one.number), kind, domain, slices, _moment(one.until), shown(one.reason)))
    print_table(lines)


@app.command("end")
def end(
    number: Annotated[int, typer.Argument(help="Number of the silence, see `list`.")],
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """End a silence now."""
    from driftgauge.connectors.store.silences import end_silence

    if not end_silence(store_url_or_setting(store, config, overrides), number, time.time()):
        exit_with(f"there is no silence {number}, or it is over: see driftgauge silence list", EXIT_FAILED)
    print_line(f"silence {number} is over")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
