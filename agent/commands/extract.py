"""``driftgauge extract``: raw records become features, beside the agent and as often as needed."""

from __future__ import annotations

from driftgauge.agent.commands.options import ConfigOption, SetOption, settings_from
from driftgauge.agent.service.stopping import stopped_by_signals


def extract(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Reduce the responses of raw topics to features, for an agent that reads those, until SIGTERM or Ctrl-C.

    Start as many as there is work for, with the settings of the agent: they share the partitions of extract.topics,
    keep no state and may stop, die and join at any time.
    """
    with stopped_by_signals() as stopping:  # before the imports below
        from driftgauge.agent.extraction import build
        from driftgauge.agent.service.logs import start_logging

        settings = settings_from(config, overrides)
        start_logging(settings.logging.level, json_lines=settings.logging.json_lines)
        extractor = build.extractor(settings, stopping)
        with build.page(settings, extractor):
            extractor.run()
