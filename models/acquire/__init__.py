"""Acquisition: which responses to label, and for which series to get data."""
