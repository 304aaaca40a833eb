"""``driftgauge run`` with a store that also keeps which records were applied, in order: what the oracle needs.

python -m tests.soak.agent --config FILE
"""

import signal
import sys
from pathlib import Path

from driftgauge.agent.service.build import open_agent
from driftgauge.config.load import load_settings

if __name__ == "__main__":
    with open_agent(load_settings(Path(sys.argv[2])), keep_audit=True) as agent:
        signal.signal(signal.SIGTERM, lambda *_: agent.stop())
        agent.run()
