"""Measurements on recorded traffic whose truth is known, and the baselines that only these measurements use."""
