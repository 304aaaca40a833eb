"""Correctness classifiers, the committee that compares them, their calibration and their metrics."""
