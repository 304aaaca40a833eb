"""The core: mathematics and state. Imports no I/O, no clock, no settings, so all of it is usable as a library."""
