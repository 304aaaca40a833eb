"""Source, sink and store in memory, and crashes at any effect."""

from driftgauge.connectors.testing.memory_store import (
    Crash,
    CrashPlan,
    MemorySink,
    MemorySource,
    MemoryStore,
    NoSink,
    Tables,
)

__all__ = ["Crash", "CrashPlan", "MemorySink", "MemorySource", "MemoryStore", "NoSink", "Tables"]
