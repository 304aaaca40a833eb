"""The extra ``transformers``, whose torch alone is some 3 GB: `make test-transformers` runs these tests."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") and find_spec("transformers") else ["test_*.py"]
