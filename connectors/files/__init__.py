"""Files as sources and sinks: events as JSON lines, and recorded traffic (``.npz``)."""
