"""``driftgauge run`` with what the oracle needs: the store keeps which records were applied, in order.

python -m tests.soak.agent --config FILE

Once the agent serves, it makes the file `serving` beside the settings file: from then on an orderly stop emits pending
estimates.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from driftgauge.agent.service.stopping import stopped_by_signals


def serving(folder: Path, pid: int) -> Path:
    """The file that says that the agent with this process id serves."""
    return folder / f"serving-{pid}"


class Announcement:
    """An observer that makes a file once a round of the loop succeeded."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def resumed(self, state: object) -> None:
        """The state does not matter."""

    def batch(self, records: Sequence[object], outputs: Sequence[object], state: object) -> None:
        """A batch is not yet a round."""

    def account(self, account: object) -> None:
        """The account does not matter."""

    def lag(self, lag: Mapping[Any, int]) -> None:
        """The lag does not matter."""

    def failure(self, error: Exception | None) -> None:
        if error is None:
            self._file.touch()


def main(config: Path) -> None:
    with stopped_by_signals() as stopping:
        from driftgauge.agent.service.agent import open_agent
        from driftgauge.agent.service.loop import StoppedError
        from driftgauge.config.load import load_settings

        with suppress(StoppedError), open_agent(load_settings(config), stopping, keep_audit=True) as agent:
            agent.observers = (*agent.observers, Announcement(serving(config.parent, os.getpid())))
            agent.run()


if __name__ == "__main__":
    main(Path(sys.argv[2]))
