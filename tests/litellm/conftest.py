"""LiteLLM, whose packages take some 300 MB: `make test-litellm` runs these tests."""

import os
from importlib.util import find_spec

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # LiteLLM would fetch a table of prices
collect_ignore_glob = [] if find_spec("litellm") else ["test_*.py"]
