"""Source, sink and store in memory, and crashes at any effect: for tests of your code.

The store is transactional like the real ones and passes the same contract suite. A `CrashPlan` counts every effect (a
poll, a transaction, each write, a publication …) and can end the run just before or just after any of them. Only dead
letters are bounded; everything else stays in memory.

Examples
--------
A consumer stores its position and its outputs in one transaction, so it loses nothing wherever it dies:

>>> from driftgauge.connectors.base import Record, TopicPartition
>>> from driftgauge.models.events import Rejected
>>> log = [Record("in", 0, offset, None, b"%d" % offset) for offset in range(5)]
>>> def consume(tables: Tables, crash: CrashPlan | None = None) -> None:
...     store, source = MemoryStore(tables, crash=crash), MemorySource(log, max_records=2, crash=crash)
...     with store.transaction() as transaction:
...         source.open(transaction.positions())
...     while records := source.poll(0.0):
...         with store.transaction() as transaction:
...             transaction.emit([Rejected("malformed", "", value=record.value) for record in records])
...             transaction.save_positions({TopicPartition("in", 0): records[-1].offset + 1})

One run without a crash lists the points at which the process can die:

>>> survey = CrashPlan()
>>> consume(Tables(), survey)
>>> survey.points[:4]
['before begin', 'after begin', 'before commit', 'after commit']

Die at each of them in turn and start again on the same tables:

>>> for at in range(len(survey.points)):
...     tables = Tables()
...     try:
...         consume(tables, CrashPlan(at))
...     except Crash:
...         consume(tables)
...     found = [letter.value for letter in MemoryStore(tables).newest(Rejected, 10)]
...     assert found == [b"4", b"3", b"2", b"1", b"0"]
"""

from driftgauge.connectors.testing.crash_plan import Crash, CrashPlan
from driftgauge.connectors.testing.memory_sink import MemorySink, NoSink
from driftgauge.connectors.testing.memory_source import MemorySource
from driftgauge.connectors.testing.memory_store import MemoryStore
from driftgauge.connectors.testing.tables import Tables

__all__ = ["Crash", "CrashPlan", "MemorySink", "MemorySource", "MemoryStore", "NoSink", "Tables"]
