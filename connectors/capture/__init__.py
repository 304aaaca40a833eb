"""Generation events from processes that run or call a model: docs/capture.md shows each way."""
