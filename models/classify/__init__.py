"""Correctness classifiers: online and refitted ones, the committee that compares them, calibration and metrics."""
