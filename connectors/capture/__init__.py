"""Generation events from processes that run or call a model."""
