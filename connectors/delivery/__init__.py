"""Alerts to people and their tools: one module for each kind of receiver."""
