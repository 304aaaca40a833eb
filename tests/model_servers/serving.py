"""llama.cpp's server with the small model and other settings: ``python -m tests.model_servers.serving PORT …``."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

from driftgauge.agent.demo.model_server import MODEL, weights


def main() -> None:
    xllamacpp: Any = importlib.import_module("xllamacpp")  # of the group `live`
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.model_alias = {MODEL}
    parameters.hostnames, parameters.port = ["127.0.0.1"], int(sys.argv[1])
    parameters.n_parallel, parameters.n_ctx = 4, 2048
    parameters.verbosity = 1
    for setting in sys.argv[2:]:
        name, _, value = setting.partition("=")
        setattr(parameters, name, value if name == "chat_template" else float(value))
    server = xllamacpp.Server(parameters)
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
