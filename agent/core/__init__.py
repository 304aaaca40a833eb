"""The pure core: events in, outputs out. It does no I/O and reads no clock; randomness comes from seeds."""
