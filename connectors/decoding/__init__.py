"""Decoding: bytes become documents, payloads, and events with normalised signals."""
