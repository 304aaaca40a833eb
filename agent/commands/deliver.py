"""``driftgauge deliver``: alerts of the store go to the receivers of the settings."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from driftgauge.agent.commands.options import (
    ConfigOption,
    SetOption,
    StoreOption,
    settings_from,
    store_url_in,
)
from driftgauge.agent.service.stopping import stopped_by_signals


def deliver(
    from_start: Annotated[
        bool,
        typer.Option("--from-start", help="A new sink gets every alert of the store, and not only those from now on."),
    ] = False,
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Send each alert to webhooks, Slack, PagerDuty, Alertmanager and by e-mail, until SIGTERM or Ctrl-C.

    The command runs beside the agent and only reads the store. A receiver that is down delays no other one. When it is
    back it gets the alerts that it missed, also after a restart of this command.
    """
    with stopped_by_signals() as stopping:  # before the imports below
        from driftgauge.agent.delivery import build
        from driftgauge.agent.delivery.sink_thread import close
        from driftgauge.agent.service.logs import start_logging
        from driftgauge.connectors.delivery.cursors import Cursors
        from driftgauge.connectors.store.queries import open_queries

        settings = settings_from(config, overrides)
        start_logging(settings.logging.level, json_lines=settings.logging.json_lines)
        receivers = build.receivers(settings.delivery)
        url = store_url_in(settings, store)
        with closing(open_queries(url)) as queries, Cursors(settings.delivery.cursors) as cursors:
            couriers = build.couriers(
                settings.delivery, receivers, queries, cursors, stopping.wait, from_start=from_start
            )
            with build.page(settings, couriers, queries):
                for one in couriers:
                    one.start()
                stopping.wait()
                close(couriers)
