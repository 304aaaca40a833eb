"""``driftgauge run`` with a store that also keeps which records were applied, in order: what the oracle needs.

python -m tests.soak.agent --config FILE
"""

import sys
from pathlib import Path

from driftgauge.agent.service.stopping import stopped_by_signals

if __name__ == "__main__":
    with stopped_by_signals() as stopping:
        from driftgauge.agent.service.agent import run_agent
        from driftgauge.config.load import load_settings

        run_agent(load_settings(Path(sys.argv[2])), stopping, keep_audit=True)
