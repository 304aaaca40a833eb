"""Tables of features: the features of every response in a file, as ``driftgauge features`` writes them.

The input is a recording (``.npz``) or events; the output is ``.npz`` or JSON lines, by its name. A record that is not
an event is logged and skipped. Memory: a recording is read whole, events one poll after another.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.files.event_files import FileSource
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.models.account import Account, account_of
from driftgauge.models.arrays import Floats
from driftgauge.models.events import Chunk, Event, Generation, Label, Rejected, Signal
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FEATURE_SETS, FeatureSet, FeatureSpec
from driftgauge.models.signals.features import extract
from driftgauge.models.signals.in_flight import InFlight

log = logging.getLogger(__name__)

BATCH = 1_000
_LABEL = Rejected(reason="label", detail="")  # a label has no features


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Features of n responses: ``features`` is (n, d), the columns of a set, NaN where one is missing."""

    ids: list[str]
    domains: list[str]
    features: Floats


@dataclass(slots=True)
class Written:
    """What was written, and what became of the records of the source.

    Attributes
    ----------
    responses : rows of the table
    unfinished : responses without their last piece, which have no row
    account : records (of a recording: responses); a label is not used, because it has no features
    """

    responses: int = 0
    unfinished: int = 0
    account: Account = field(default_factory=Account)


def write_features(
    source: Path,
    out: Path,
    advance: Callable[[int], object] | None = None,
    feature_set: FeatureSet = DEFAULT_SPEC.set,
) -> Written:
    """Write the features of every response of ``source``: the columns of the set.

    ``advance`` is called after each batch with the number of its responses.
    """
    write, written = _write_npz if out.suffix == ".npz" else _write_jsonl, Written()
    tables = (_of_recording if source.suffix == ".npz" else _of_events)(source, written, FeatureSpec(feature_set))
    written.responses = write(out, FEATURE_SETS[feature_set], _counted(tables, advance))
    return written


def _of_recording(path: Path, written: Written, spec: FeatureSpec) -> Iterator[FeatureTable]:
    recording = read_recording(path)
    features = recording.features(spec.set)
    written.account.used = len(recording)
    for start in range(0, len(recording), BATCH):
        rows = range(start, min(start + BATCH, len(recording)))
        ids = [f"{recording.name}-{i}" for i in rows]
        yield FeatureTable(ids, [str(recording.domain[i]) for i in rows], features[rows.start : rows.stop])


def _of_events(path: Path, written: Written, spec: FeatureSpec) -> Iterator[FeatureTable]:
    decoder, assembly = Decoder(), Assembly(AssemblySettings(), spec)
    source = FileSource([path])
    with contextlib.closing(source):
        source.open({})
        while not source.is_exhausted:
            records = source.poll(0)
            events, counts = decoder.decode_counted(records)
            events = [_LABEL if isinstance(event, Label) else event for event in events]
            written.account.add(account_of([record.value for record in records], events, counts, ()))
            yield _of_batch(events, assembly, spec)
    yield _table([_complete(response) for response in assembly.overdue()], spec)
    written.unfinished = len(assembly.in_flight)
    if assembly.in_flight:
        log.warning("%s: the last chunk of %d responses is missing", path, len(assembly.in_flight))


def _of_batch(events: Sequence[Event], assembly: Assembly, spec: FeatureSpec) -> FeatureTable:
    whole: list[Generation] = []
    for event in events:
        if isinstance(event, Generation):
            whole.append(event)
        elif isinstance(event, Rejected) and event.topic:
            log.warning("%s, line %d: %s: %s", event.topic, event.offset + 1, event.reason, event.detail)
        elif isinstance(event, Chunk):
            whole += [_complete(response) for response in assembly.completed_by(event)]
    return _table(whole, spec)


def _complete(response: InFlight) -> Generation:
    return replace(response.head, signal=Signal(features=response.features()))


def _table(rows: Sequence[Generation], spec: FeatureSpec) -> FeatureTable:
    features = extract([generation.signal for generation in rows], spec)
    return FeatureTable([generation.id for generation in rows], [generation.domain for generation in rows], features)


def _counted(tables: Iterator[FeatureTable], advance: Callable[[int], object] | None) -> Iterator[FeatureTable]:
    for table in tables:
        yield table
        if advance:
            advance(len(table.ids))


def _write_npz(out: Path, names: Sequence[str], tables: Iterator[FeatureTable]) -> int:
    parts = list(tables)
    features = np.concatenate([np.empty((0, len(names))), *(part.features for part in parts)])
    np.savez_compressed(
        out,
        features=features,
        names=np.array(names),
        ids=np.array([i for part in parts for i in part.ids], dtype=np.str_),
        domain=np.array([d for part in parts for d in part.domains], dtype=np.str_),
    )
    return len(features)


def _write_jsonl(out: Path, names: Sequence[str], tables: Iterator[FeatureTable]) -> int:
    encoder, n = msgspec.json.Encoder(), 0
    with out.open("wb") as lines:
        for table in tables:
            for response, domain, row in zip(table.ids, table.domains, table.features.tolist(), strict=True):
                features = {name: None if v != v else v for name, v in zip(names, row, strict=True)}
                lines.write(encoder.encode({"id": response, "domain": domain, "features": features}) + b"\n")
                n += 1
    return n
