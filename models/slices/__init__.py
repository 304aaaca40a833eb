"""Slices of domains: parts of their traffic by what events carry, and the parts that are weak."""
