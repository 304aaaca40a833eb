"""``driftgauge serve`` and ``driftgauge token``: the API and the dashboard on a store, and tokens for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from driftgauge.agent.commands.options import ConfigOption, SetOption, StoreOption, settings_from, store_url
from driftgauge.agent.commands.terminal import print_line
from driftgauge.agent.service.stopping import stopped_by_signals

if TYPE_CHECKING:
    from driftgauge.config.settings import Settings


def serve(
    store: StoreOption = "",
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port to listen on; 0: any free one. Default: server.port.")
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show a store in the browser and answer questions about it, until Ctrl-C. The agent may be running or not."""
    with stopped_by_signals() as stopping:
        from driftgauge.connectors.store.queries import open_queries

        given = [f"store.url={store_url(store)}"] if store else []
        given += [] if port is None else [f"server.port={port}"]
        settings = settings_from(config, [*(overrides or ()), *given])
        open_queries(settings.store.url.get_secret_value()).close()  # a wrong store is an error at once
        with served(settings) as address:
            print_line(address)
            stopping.wait()


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Serve the store of the settings; gives the address of the dashboard."""
    from driftgauge.agent.api.build import open_server
    from driftgauge.agent.outlets.http import address, listen

    with closing(open_server(settings, listen(settings.server.host, settings.server.port))) as server:
        yield address(server.host, server.port)


def token() -> None:
    """Make a token for the API: print it, and the digest that names it in the settings."""
    from driftgauge.agent.api.access import new_token

    made, digest = new_token()
    print_line(f"token   {made}")
    print_line(f"digest  {digest}")
    print_line("Put the digest into server.tokens, under each role that the token shall have.")
