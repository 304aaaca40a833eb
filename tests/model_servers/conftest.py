"""Real model servers: `make test-llama` starts llama.cpp's, and `make test-vllm VLLM=http://…` takes one that runs."""

import os
from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("xllamacpp") or "DRIFTGAUGE_MODEL_SERVER" in os.environ else ["test_*.py"]
