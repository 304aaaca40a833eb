"""Extractors: processes without state that reduce raw records to features for the agent."""
