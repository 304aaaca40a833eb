"""Probes never mix with live traffic: what is said of live domains is the same with them and without them."""

from __future__ import annotations

import numpy as np

from driftgauge.agent.core.context_state import contexts_saved
from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.outlets.versions import named_context
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Chunk, Context, Event, Generation, Label
from driftgauge.models.outputs import Acquisition, Estimate, LabelList, Output, Prediction
from driftgauge.models.probes import is_probe_context, is_probe_domain
from tests.copying import replace
from tests.pipeline.logs import SETTINGS, make_log, signal

APART = replace(SETTINGS, windows_at_once=1_000)


def with_probes(log: list[Event]) -> list[Event]:
    """The log with an answered probe, which is always wrong, after every other whole response."""
    rng, mixed = np.random.default_rng(9), list[Event]()
    for i, event in enumerate(log):
        mixed.append(event)
        if isinstance(event, Generation) and i % 2:
            at, name = event.event_time, f"probe:sums/p@{i}"
            probe = Generation(name, at, "probe:sums", event.context, signal(rng, 9, correct=bool(rng.random() < 0.5)))
            known = Label(name, name, at, 0.0, "code", source="probe", inclusion_probability=1.0)
            mixed += [probe, known]
    return mixed


def of_one_model() -> list[Event]:
    """A log without responses of the other model."""
    wholes = [(event, event.piece if isinstance(event, Chunk) else event) for event in make_log(3)]
    return [event for event, whole in wholes if not isinstance(whole, Generation) or whole.context.model == "m"]


def said(log: list[Event], settings: PipelineSettings = APART) -> tuple[list[Output], MemoryStore]:
    store, pipeline, outputs = MemoryStore(), Pipeline(settings), list[Output]()
    for event in log:
        with store.transaction() as transaction:
            made = pipeline.step([event], transaction)
            transaction.emit(made)
        outputs += made
    return outputs, store


def of_live(
    outputs: list[Output],
) -> tuple[dict[object, Estimate], dict[object, Prediction], list[Acquisition], list[LabelList]]:
    estimates: dict[object, Estimate] = {
        (e.key, e.revision): replace(e, watermark=0.0)
        for e in outputs
        if isinstance(e, Estimate) and not is_probe_domain(e.domain)
    }
    predictions: dict[object, Prediction] = {
        (p.response_id, p.n_tokens): replace(p, number=0)
        for p in outputs
        if isinstance(p, Prediction) and not is_probe_domain(p.domain)
    }
    lists = [o for o in outputs if isinstance(o, LabelList)]
    return estimates, predictions, [o for o in outputs if isinstance(o, Acquisition)], lists


def test_estimates_predictions_and_lists_of_live_traffic_are_the_same_with_probes_and_without_them() -> None:
    log = make_log(3)
    alone, _ = said(log)
    mixed, _ = said(with_probes(log))
    assert of_live(mixed) == of_live(alone)
    assert sum(len(made) for made in of_live(alone)) > 100
    last = [e for e in mixed if isinstance(e, Estimate) and e.domain == "probe:sums" and e.n_labels][-1]
    assert is_probe_context(last.fingerprint)
    assert last.accuracy_labelled == 0.0
    assert not any(is_probe_domain(row.domain) for made in of_live(mixed)[2] for row in made.priorities)


def test_a_live_context_that_starts_warm_does_not_start_from_probes() -> None:
    settings, log = replace(APART, warm_start=True), of_one_model()
    later = [
        Generation(f"new{i}", 2_000_000.0 + i, "a", Context(model="newer"), signal(np.random.default_rng(i), 9))
        for i in range(20)
    ]
    found = [
        [p.p_correct for p in said([*events, *later], settings)[0] if isinstance(p, Prediction)][-20:]
        for events in (log, with_probes(log))
    ]
    assert found[0] == found[1]
    assert None not in found[0]


def test_the_only_context_of_live_traffic_needs_no_name() -> None:
    _, store = said(with_probes(of_one_model()))
    with store.transaction() as transaction:
        contexts = contexts_saved(transaction.state("context/"))
    live, probes = sorted(contexts, key=is_probe_context)
    assert is_probe_context(probes)
    assert named_context(contexts, None) == live
    assert named_context(contexts, probes) == probes
