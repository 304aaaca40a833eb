"""Event time cannot be hijacked: by one wrong clock, by uneven reading, or by a jump over several boundaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation
from driftgauge.connectors.testing import MemorySource, MemoryStore, NoSink
from driftgauge.models.event_clock import EventClock
from driftgauge.models.events import Arrival, Chunk, Context, Event, Generation, Origin, Rejected, Signal, Tick
from driftgauge.models.outputs import Alert, Estimate, Output
from driftgauge.models.signals.arrivals import with_features
from driftgauge.models.signals.assembly import AssemblySettings
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.logs import play as play_in

START, DAY_S = 1_700_000_000.0, 86_400.0
NINE_MONTHS_S = 270 * DAY_S
SETTINGS = PipelineSettings(
    windows=WindowSpec(window_s=7_200.0, window_events=50, hop_s=3_600.0),
    assembly=AssemblySettings(expiry_s=600.0),
    min_events=5,
    emit_every_events=10**9,
)
TOKENS = Signal(chosen_logprobs=np.array([-0.1, -0.2], np.float32))


def response(
    name: str, at: float, *, domain: str = "billing", partition: str = "t/0", broker_time: float | None = None
) -> Generation:
    return Generation(name, at, domain, Context(model="m"), TOKENS, origin=Origin(partition, broker_time))


def steady(n: int, step_s: float = 60.0, *, start: float = START, broker: bool = False, **more: str) -> list[Event]:
    """A response every ``step_s`` seconds; with ``broker`` each record was taken when it happened."""
    times = [start + i * step_s for i in range(n)]
    return [response(f"r{t:.0f}", t, broker_time=t if broker else None, **more) for t in times]


def play(log: Sequence[Event], settings: PipelineSettings = SETTINGS, size: int = 7) -> tuple[Pipeline, list[Output]]:
    """The pipeline and its outputs after a log and the end of input, in batches of this size."""
    pipeline, outputs, store = Pipeline(settings), list[Output](), MemoryStore()
    batches = [list(log[i : i + size]) for i in range(0, len(log), size)]
    for batch in [*batches, None]:
        with store.transaction() as memory:
            made = pipeline.step([Tick(pipeline.state.end)] if batch is None else batch, memory)
            memory.emit(made)
        outputs += made
    return pipeline, outputs


def estimates(outputs: Sequence[Output]) -> dict[str, tuple[int, str]]:
    """Responses and status of the newest revision of each estimate."""
    return {o.key: (o.n_events, o.status) for o in outputs if isinstance(o, Estimate)}


def in_the_middle(log: list[Event], *odd: Event) -> list[Event]:
    return [*log[: len(log) // 2], *odd, *log[len(log) // 2 :]]


@pytest.mark.parametrize("ahead_s", [2 * 3_600.0, NINE_MONTHS_S, START * 999], ids=["hours", "months", "ms for s"])
def test_a_response_dated_ahead_of_its_broker_is_a_dead_letter_and_moves_nothing(ahead_s: float) -> None:
    log = steady(200, broker=True)
    odd = response("odd", START + ahead_s, broker_time=START)
    expected, (pipeline, outputs) = play(log), play(in_the_middle(log, odd))
    rejected = [o for o in outputs if isinstance(o, Rejected)]
    assert [(o.reason, o.key) for o in rejected] == [("event_time_ahead", b"odd")]
    assert estimates(outputs) == estimates(expected[1])
    assert not pipeline.state.counters["late_responses"]


def test_a_piece_dated_ahead_of_its_broker_is_a_dead_letter() -> None:
    odd = Chunk(response("odd", START + NINE_MONTHS_S, broker_time=START), 0, is_last=True)
    pipeline, outputs = play(in_the_middle(steady(200, broker=True), odd))
    assert Counter(o.reason for o in outputs if isinstance(o, Rejected)) == {"event_time_ahead": 1}
    assert pipeline.state.event_time < START + DAY_S


@pytest.mark.parametrize("n_odd", [1, 8])
@pytest.mark.parametrize("ahead_s", [2 * DAY_S, NINE_MONTHS_S, START * 999], ids=["days", "months", "ms for s"])
def test_in_a_file_a_minority_dated_far_ahead_is_kept_and_moves_nothing(ahead_s: float, n_odd: int) -> None:
    log = steady(200)
    odd = [response(f"odd{i}", START + ahead_s + i) for i in range(n_odd)]
    expected, (pipeline, outputs) = play(log), play(in_the_middle(log, *odd))
    assert not [o for o in outputs if isinstance(o, Rejected)]
    assert estimates(outputs) == estimates(expected[1])
    assert pipeline.state.counters["responses_ahead"] == n_odd
    assert pipeline.state.n_responses == 200 + n_odd


def test_a_file_that_starts_with_a_response_dated_ahead_is_estimated_all_the_same() -> None:
    log = steady(200)
    pipeline, outputs = play([response("odd", START + NINE_MONTHS_S), *log])
    assert estimates(outputs) == estimates(play(log)[1])
    assert pipeline.state.counters["responses_ahead"] == 1


def test_responses_of_a_file_without_time_are_dated_like_those_before_them() -> None:
    log = steady(200)
    without = [replace(event, event_time=0.0) if i % 2 else event for i, event in enumerate(log)]
    pipeline, outputs = play(without)
    found, expected = (sum(n for n, _ in estimates(each).values()) for each in (outputs, play(log)[1]))
    assert abs(found - expected) <= 4  # at boundaries
    counters = pipeline.state.counters
    assert (counters["response_no_time"], counters["responses_ahead"], counters["late_responses"]) == (100, 0, 0)


def test_a_response_without_time_that_comes_again_is_a_repeat() -> None:
    undated = response("undated", 0.0)
    pipeline, outputs = play([*steady(20), undated, undated, *steady(20, start=START + 6_000.0), undated])
    assert not [o for o in outputs if isinstance(o, Rejected)]
    assert pipeline.state.counters["duplicate_responses"] == 2


def test_a_file_whose_first_responses_have_no_time_takes_its_time_from_the_first_that_has_one() -> None:
    undated = [response(f"undated{i}", 0.0) for i in range(20)]
    pipeline, outputs = play([*undated, *steady(200)])
    assert pipeline.state.counters["responses_ahead"] == 0
    assert {key: n for key, n in estimates(outputs).items() if n[0]}.items() >= estimates(play(steady(200))[1]).items()


def test_a_pause_of_months_in_a_file_is_believed_once_most_responses_agree() -> None:
    before, after = steady(100), steady(100, start=START + NINE_MONTHS_S)
    keys = {key for part in (before, after) for key, (n, _) in estimates(play(part)[1]).items() if n}
    found = estimates(play([*before, *after])[1])
    assert {key for key, (n, _) in found.items() if n} == keys


def test_a_wrong_clock_raises_one_alert_a_day() -> None:
    log = steady(3 * 24 * 6, 600.0, broker=True)
    odd = [response(f"odd{i}", e.event_time + DAY_S, broker_time=e.event_time) for i, e in enumerate(log)]  # type: ignore[union-attr]
    outputs = play([event for pair in zip(log, odd, strict=True) for event in pair])[1]
    alerts = [o for o in outputs if isinstance(o, Alert) and o.kind == "wrong_clock"]
    assert [(o.severity, o.domain) for o in alerts] == [
        ("warning", "(all)")
    ] * 4  # at once, and at each of three boundaries a day later
    assert "86400 s ahead" in alerts[0].message


def test_an_alert_about_a_clock_names_the_context_also_of_a_response_that_a_reader_took_features_of() -> None:
    whole = response("r", START + NINE_MONTHS_S, broker_time=START)
    (arrival,) = with_features([whole])
    assert isinstance(arrival, Arrival)
    light = replace(arrival, generation=whole.with_signal(Signal(features=arrival.features)))
    (one,), (other,) = ([o for o in play([event])[1] if isinstance(o, Alert)] for event in (whole, light))
    assert one == other


def test_streams_of_a_partition_that_is_read_later_are_completed() -> None:
    opened = [Chunk(response(f"s{i}", START, partition="t/1"), 0, is_last=False) for i in range(50)]
    ahead = steady(300, 600.0)  # two days of the other partition
    closed = [Chunk(response(f"s{i}", START + 5, partition="t/1"), 1, is_last=True) for i in range(50)]
    pipeline, outputs = play([*opened, *ahead[:100], *closed, *ahead[100:]])
    assert not [o for o in outputs if isinstance(o, Rejected)]
    assert pipeline.state.n_responses == 350


def test_a_stream_without_news_on_its_own_partition_expires() -> None:
    opened = Chunk(response("s", START), 0, is_last=False)
    outputs = play([opened, *steady(100)])[1]
    assert [o.reason for o in outputs if isinstance(o, Rejected)] == ["incomplete_response"]


def test_a_stream_of_a_partition_that_fell_silent_expires_a_day_later() -> None:
    opened = Chunk(response("s", START, partition="t/1"), 0, is_last=False)
    assert not [o for o in play([opened, *steady(20, 3_600.0)])[1][:-1] if isinstance(o, Rejected)]
    outputs = play([opened, *steady(60, 3_600.0)])[1]
    assert [o.reason for o in outputs if isinstance(o, Rejected)] == ["incomplete_response"]


def test_a_partition_slightly_behind_holds_event_time_back_and_nothing_of_it_is_late() -> None:
    ahead, behind = steady(200), steady(200, domain="legal", partition="t/1")
    log = [*ahead[:5], *(event for pair in zip(ahead[5:], behind, strict=False) for event in pair)]
    pipeline, _ = play(log)
    assert not pipeline.state.counters["late_responses"]


def test_a_jump_over_several_boundaries_closes_each_window_with_responses() -> None:
    ahead, behind = steady(300), response("b", START, partition="t/1")
    settings = replace(SETTINGS, idle_after_s=1e6)
    whole = estimates(play(ahead)[1])
    jumped = estimates(play([behind, *ahead, response("c", START + 300 * 60.0, partition="t/1")], settings)[1])
    assert len(whole) == 6
    assert jumped.keys() >= whole.keys()
    assert {key: status for key, (_, status) in jumped.items() if key in whole} == {k: s for k, (_, s) in whole.items()}


@pytest.mark.parametrize("lateness_s", [0.0, 600.0, 5_000.0])
def test_allowed_lateness_delays_estimates_of_busy_domains_and_changes_none(lateness_s: float) -> None:
    log = steady(4_000, 5.0)  # a window has 50 of the 1,440 responses of its span
    settings = replace(SETTINGS, allowed_lateness_s=lateness_s)
    assert estimates(play(log, settings)[1]) == estimates(play(log)[1])


times = st.one_of(st.integers(0, 20_000), st.just(int(NINE_MONTHS_S)), st.integers(-(10**6), 10**6))
logs = st.lists(st.tuples(times, st.sampled_from(["t/0", "t/1", "t/2"]), st.booleans()), max_size=60)


@given(logs, st.integers(1, 60))
def test_wrong_clocks_and_uneven_partitions_keep_batch_invariance(
    drawn: list[tuple[int, str, bool]], size: int
) -> None:
    log: list[Event] = [
        response(f"r{i}", START + at, partition=partition, broker_time=START + 20_000 if broker else None)
        for i, (at, partition, broker) in enumerate(drawn)
    ]
    settings = replace(SETTINGS, emit_every_events=7, windows=WindowSpec(7_200.0, 3, 3_600.0))
    one_by_one, in_batches = MemoryStore(), MemoryStore()
    first = play_in(one_by_one, [[event] for event in log], settings)
    assert first == play_in(in_batches, [log[i : i + size] for i in range(0, len(log), size)], settings)
    with one_by_one.transaction() as one, in_batches.transaction() as other:
        assert one.state("") == other.state("")


@given(logs)
def test_event_time_survives_a_restart_after_every_event(drawn: list[tuple[int, str, bool]]) -> None:
    clock = EventClock(600.0)
    for at, partition, broker in drawn:
        restored = EventClock(600.0).restore(clock.snapshot())
        jump_s = np.inf if broker else DAY_S
        assert clock.observe(partition, at, jump_s) == restored.observe(partition, at, jump_s)
        assert (clock.event_time, clock.furthest) == (restored.event_time, restored.furthest)


@pytest.mark.parametrize("domain", ["billing", "another"])
def test_the_end_of_a_file_closes_no_window_of_a_response_dated_ahead(domain: str) -> None:
    log = in_the_middle(steady(200), response("odd", START + NINE_MONTHS_S, domain=domain))
    values = [encode_generation(event) for event in log if isinstance(event, Generation)]
    source = [Record("file", 0, i, None, value) for i, value in enumerate(values)]
    store = MemoryStore()
    Loop(SETTINGS, Decoder(encoding="msgpack"), store, lambda: MemorySource(source), NoSink).run()
    ends = [estimate.window_end for estimate in store.newest(Estimate, 100)]
    assert max(ends) < START + DAY_S
