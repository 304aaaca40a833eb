"""``driftgauge run`` with what the oracle needs: the store keeps which records were applied, in order.

python -m tests.soak.agent --config FILE

Once the agent serves, it makes the file `serving` beside the settings file: from then on an orderly stop emits pending
estimates.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from driftgauge.agent.service.stopping import stopped_by_signals

if TYPE_CHECKING:
    from driftgauge.agent.outlets.observer import Observer
    from driftgauge.connectors.base import ConnectorError


def serving(folder: Path, pid: int) -> Path:
    """The file that says that the agent with this process id serves."""
    return folder / f"serving-{pid}"


def announcement(file: Path) -> Observer:
    """An observer that makes a file once a round of the loop succeeded."""
    from driftgauge.agent.outlets.observer import Observer

    class Announcement(Observer):
        def failure(self, error: ConnectorError | None) -> None:
            if error is None:
                file.touch()

    return Announcement()


def main(config: Path) -> None:
    with stopped_by_signals() as stopping:
        from driftgauge.agent.service.agent import open_agent
        from driftgauge.agent.service.backoff import StoppedError
        from driftgauge.config.load import load_settings

        with suppress(StoppedError), open_agent(load_settings(config), stopping, keep_audit=True) as agent:
            agent.observers = (*agent.observers, announcement(serving(config.parent, os.getpid())))
            agent.run()


if __name__ == "__main__":
    main(Path(sys.argv[2]))
