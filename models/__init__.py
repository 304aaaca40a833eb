"""The library: mathematics and state. It does no I/O, reads no clock and knows no settings."""
