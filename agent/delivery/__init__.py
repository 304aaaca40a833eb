"""Delivery: reads the alerts of a store and brings each to the receivers of the settings, beside the agent."""
