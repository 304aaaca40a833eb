"""``driftgauge run``: the agent itself."""

from __future__ import annotations

from driftgauge.agent.commands.options import ConfigOption, SetOption, settings_from
from driftgauge.agent.service.stopping import stopped_by_signals


def run(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Run the agent: read from Kafka and publish estimates until SIGTERM or Ctrl-C."""
    with stopped_by_signals() as stopping:  # before the imports below, which take a second
        from driftgauge.agent.service.agent import run_agent
        from driftgauge.agent.service.logs import start_logging

        settings = settings_from(config, overrides)
        start_logging(settings.logging.level, json_lines=settings.logging.json_lines)
        run_agent(settings, stopping)
