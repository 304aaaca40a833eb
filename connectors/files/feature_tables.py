"""Tables of features: the features of every response in a file, as ``driftgauge features`` writes them.

The input are recordings (``.npz``) or events, also those that ``driftgauge spark backfill`` made; the output is
``.npz`` or JSON lines, by its name. An ``.npz`` has the labels too: it is a recording without its tokens, which
``driftgauge evaluate`` reads. A record that is not an event is logged and skipped. Memory: a recording is read whole,
events one poll after another; of an ``.npz`` that is written, all rows and labels.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.files.event_files import FileSource
from driftgauge.connectors.files.recordings import read_recording
from driftgauge.connectors.files.whole_file import whole_file
from driftgauge.models.account import Account, account_of
from driftgauge.models.arrays import Float32s, Floats
from driftgauge.models.events import Arrival, Chunk, Event, Generation, Label, Rejected, Signal
from driftgauge.models.labels import resolve
from driftgauge.models.signals.assembly import Assembly, AssemblySettings
from driftgauge.models.signals.feature_sets import DEFAULT_SPEC, FEATURE_SETS, FeatureSet, FeatureSpec
from driftgauge.models.signals.features import extract
from driftgauge.models.signals.in_flight import InFlight

log = logging.getLogger(__name__)

BATCH = 1_000
_LABEL = Rejected("label", "it has no features")


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Features of n responses, and labels that came with them, maybe of other responses.

    Attributes
    ----------
    ids, domains : of each response
    features : (n, d), the columns of a set, NaN where one is missing
    n_tokens : of each response
    aliases : further id -> id
    labels : in the order in which they came
    """

    ids: list[str]
    domains: list[str]
    features: Floats
    n_tokens: list[int]
    aliases: Mapping[str, str] = field(default_factory=dict)
    labels: Sequence[Label] = ()


@dataclass(slots=True)
class Written:
    """What was written, and what became of the records of the source.

    Attributes
    ----------
    responses : rows of the table
    unfinished : responses without their last piece, which have no row
    account : records (of a recording: responses); a label is used only in an ``.npz``
    """

    responses: int = 0
    unfinished: int = 0
    account: Account = field(default_factory=Account)


def write_features(
    sources: Sequence[Path],
    out: Path,
    advance: Callable[[int], object] | None = None,
    feature_set: FeatureSet = DEFAULT_SPEC.set,
) -> Written:
    """Write the features of every response of these files: the columns of the set.

    ``advance`` is called after each batch with the number of its responses.
    """
    has_labels, written, spec = out.suffix == ".npz", Written(), FeatureSpec(feature_set)
    events = [path for path in sources if path.suffix != ".npz"]
    tables = chain(
        chain.from_iterable(_of_recording(path, written, spec) for path in sources if path.suffix == ".npz"),
        _of_events(events, written, spec, has_labels=has_labels) if events else (),
    )
    write = _write_npz if has_labels else _write_jsonl
    written.responses = write(out, FEATURE_SETS[feature_set], _counted(tables, advance))
    return written


def _of_recording(path: Path, written: Written, spec: FeatureSpec) -> Iterator[FeatureTable]:
    recording = read_recording(path)
    features, n_tokens = recording.features(spec.set), np.diff(recording.offsets)
    written.account.used += len(recording)
    for start in range(0, len(recording), BATCH):
        rows = range(start, min(start + BATCH, len(recording)))
        ids = [f"{recording.name}-{i}" for i in rows]
        labels = [
            Label(str(i), name, float(i), correct)
            for i, name, correct in zip(rows, ids, recording.labels[rows.start : rows.stop].tolist(), strict=True)
            if not math.isnan(correct)
        ]
        of_rows = slice(rows.start, rows.stop)
        domains = [str(domain) for domain in recording.domain[of_rows]]
        yield FeatureTable(ids, domains, features[of_rows], n_tokens[of_rows].tolist(), labels=labels)


def _of_events(
    paths: Sequence[Path], written: Written, spec: FeatureSpec, *, has_labels: bool
) -> Iterator[FeatureTable]:
    decoder, assembly = Decoder(features=spec, features_anywhere=True), Assembly(AssemblySettings(), spec)
    source = FileSource(paths)
    with contextlib.closing(source):
        source.open({})
        while not source.is_exhausted:
            records = source.poll(0)
            events, counts = decoder.decode_counted(records)
            useful = events if has_labels else [_LABEL if isinstance(event, Label) else event for event in events]
            written.account.add(account_of([record.value for record in records], useful, counts, ()))
            yield _of_batch(events, assembly, spec)
    yield _table([_complete(response) for response in assembly.overdue()], spec)
    written.unfinished = len(assembly.in_flight)
    if assembly.in_flight:
        log.warning("%s: the last chunk of %d responses is missing", paths[-1], len(assembly.in_flight))


def _of_batch(events: Sequence[Event], assembly: Assembly, spec: FeatureSpec) -> FeatureTable:
    whole: list[Generation] = []
    for event in events:
        if isinstance(event, Generation):
            whole.append(event)
        elif isinstance(event, Arrival):
            whole.append(replace(event.generation, n_completion_tokens=event.n_tokens))
        elif isinstance(event, Rejected) and event.topic:
            log.warning("%s, line %d: %s: %s", event.topic, event.offset + 1, event.reason, event.detail)
        elif isinstance(event, Chunk):
            whole += [_complete(response) for response in assembly.completed_by(event)]
    return _table(whole, spec, [event for event in events if isinstance(event, Label)])


def _complete(response: InFlight) -> Generation:
    return replace(response.head, signal=Signal(features=response.features()))


def _table(rows: Sequence[Generation], spec: FeatureSpec, labels: Sequence[Label] = ()) -> FeatureTable:
    return FeatureTable(
        [generation.id for generation in rows],
        [generation.domain for generation in rows],
        extract([generation.signal for generation in rows], spec),
        [generation.signal.n_tokens or generation.n_completion_tokens or 0 for generation in rows],
        {alias: generation.id for generation in rows for alias in generation.aliases},
        labels,
    )


def _counted(tables: Iterator[FeatureTable], advance: Callable[[int], object] | None) -> Iterator[FeatureTable]:
    for table in tables:
        yield table
        if advance:
            advance(len(table.ids))


def _write_npz(out: Path, names: Sequence[str], tables: Iterator[FeatureTable]) -> int:
    parts = list(tables)
    features = np.concatenate([np.empty((0, len(names))), *(part.features for part in parts)])
    ids = [i for part in parts for i in part.ids]
    with whole_file(out) as file:
        np.savez_compressed(
            file,
            features=features,
            names=np.array(names),
            ids=np.array(ids, dtype=np.str_),
            domain=np.array([d for part in parts for d in part.domains], dtype=np.str_),
            correct=_correct(ids, parts),
            offsets=np.cumsum([0, *(n for part in parts for n in part.n_tokens)]),
        )
    return len(features)


def _correct(ids: Sequence[str], parts: Sequence[FeatureTable]) -> Float32s:
    """(n,) the truth of each response by all of its labels, NaN where there is none."""
    names = {alias: name for part in parts for alias, name in part.aliases.items()}
    labels: dict[str, list[Label]] = {}
    for label in chain.from_iterable(part.labels for part in parts):
        labels.setdefault(names.get(label.response_id, label.response_id), []).append(label)
    truths = (resolve(labels[name]) if name in labels else None for name in ids)
    return np.array([np.nan if truth is None else truth.correct for truth in truths], dtype=np.float32)


def _write_jsonl(out: Path, names: Sequence[str], tables: Iterator[FeatureTable]) -> int:
    encoder, n = msgspec.json.Encoder(), 0
    with whole_file(out) as lines:
        for table in tables:
            for response, domain, row in zip(table.ids, table.domains, table.features.tolist(), strict=True):
                features = {name: None if math.isnan(v) else v for name, v in zip(names, row, strict=True)}
                lines.write(encoder.encode({"id": response, "domain": domain, "features": features}) + b"\n")
                n += 1
    return n
