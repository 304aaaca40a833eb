"""Acquisition of labels: which responses to label."""
