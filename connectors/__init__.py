"""The outside world, one file per system: sources, sinks, the store, and the decoders between bytes and events."""
