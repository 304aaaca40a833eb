"""A model that is exchanged behind its name is found on recurring prompts, and suspected where many domains move."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.events import Chunk, Context, Event, Generation, Signal
from driftgauge.models.outputs import Alert
from driftgauge.models.probes import kept_apart, probe_domain
from driftgauge.models.windows import WindowSpec
from tests.copying import replace
from tests.pipeline.logs import play

T0 = 960_000.0
SETTINGS = PipelineSettings(windows=WindowSpec(window_s=3_600.0, window_events=500, hop_s=600.0))
N_PROMPTS, K = 12, 5
LEVELS = np.random.default_rng(3).normal(0, 2, (N_PROMPTS, K))
"""First-token logits of each prompt: those of the old model; the new one adds a little to some."""

SHIFT = np.random.default_rng(4).normal(0, 0.5, (N_PROMPTS, K))


def answer(i: int, *, is_new: bool, domain: str = "law", slice_name: str = "prompt_hash") -> Generation:
    """An answer to one of some prompts: its first token is decided by model and prompt, the others are sampled."""
    rng = np.random.default_rng(i)
    prompt = int(rng.integers(N_PROMPTS))
    logits = np.vstack([LEVELS[prompt] + is_new * SHIFT[prompt], rng.normal(0, 2, (int(rng.integers(8, 20)), K))])
    top = np.sort(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), axis=1)[:, ::-1].astype(np.float32)
    top -= rng.normal(0, 1e-3, top.shape).astype(np.float32) ** 2  # another batch on the server
    chosen = top[np.arange(len(top)), rng.integers(0, K, len(top))]
    context = Context(model="m", temperature=0.7)
    signal = Signal(chosen_logprobs=chosen, top_logprobs=top)
    return Generation(f"r{i}", T0 + 30.0 * i, domain, context, signal, slices={slice_name: f"p{prompt}"})


def log(n_old: int, n_new: int, **of: str) -> list[Generation]:
    return [answer(i, is_new=i >= n_old, **of) for i in range(n_old + n_new)]


def found(events: list[Event], settings: PipelineSettings = SETTINGS) -> list[Alert]:
    return [o for o in play(MemoryStore(), [events], settings) if isinstance(o, Alert) and o.kind == "served_model"]


def test_the_same_traffic_through_another_model_is_found_and_through_the_same_model_is_not() -> None:
    assert found([*log(700, 0)]) == []
    [alert] = [one for one in found([*log(500, 200)]) if one.state == "firing"]
    assert (alert.domain, alert.what, alert.severity) == ("(all)", "first_tokens", "warning")
    assert alert.since is not None
    assert T0 + 30 * 440 <= alert.since <= T0 + 30 * 510
    assert alert.event_time <= T0 + 30 * 560, "sixty answers later at the latest"
    assert alert.before is not None
    assert alert.after is not None
    assert alert.after > alert.before + 0.05


def test_a_model_is_found_by_probes_too_and_the_alert_is_about_live_traffic() -> None:
    events = log(500, 200, domain=probe_domain("canary"), slice_name="probe_id")
    (alert, *_) = found([*events])
    live = replace(events[0].context, k=K).fingerprint("top_logprobs")
    assert alert.fingerprint == live
    assert kept_apart(live, events[0].domain) != live


def test_responses_whose_prompt_has_no_name_are_not_compared() -> None:
    assert found([replace(one, slices={}) for one in log(500, 200)]) == []


def pieces(response: Generation) -> Iterator[Chunk]:
    """A response in pieces of three tokens."""
    signal = response.signal
    n = signal.n_tokens
    assert signal.chosen_logprobs is not None
    assert signal.top_logprobs is not None
    for start in range(0, n, 3):
        part = slice(start, start + 3)
        new = Signal(chosen_logprobs=signal.chosen_logprobs[part], top_logprobs=signal.top_logprobs[part])
        yield Chunk(replace(response, signal=new), start // 3, is_last=start + 3 >= n)


def test_answers_in_pieces_give_the_same_alert() -> None:
    events = log(500, 100)
    whole, in_pieces = found([*events]), found([piece for one in events for piece in pieces(one)])
    assert whole
    assert [(a.since, a.before, a.after, a.n) for a in whole] == [(a.since, a.before, a.after, a.n) for a in in_pieces]


@pytest.mark.parametrize("size", [1, 50])
def test_batches_and_restarts_change_nothing(size: int) -> None:
    events = log(500, 100)
    expected, store = found([*events]), MemoryStore()
    batches: list[list[Event]] = [[*events[at : at + size]] for at in range(0, len(events), size)]
    half = len(batches) * 9 // 10
    outputs = [*play(store, batches[:half], SETTINGS), *play(store, batches[half:], SETTINGS)]
    assert [o for o in outputs if isinstance(o, Alert) and o.kind == "served_model"] == expected
    assert expected


def harder(n: int, moved: set[str], domains: tuple[str, ...] = ("a", "b", "c", "d")) -> list[Event]:
    """Traffic of some domains in turn; the answers of some become uncertain in the last third."""
    rng, events = np.random.default_rng(0), list[Event]()
    for i in range(n):
        domain = domains[i % len(domains)]
        spread = 0.7 if domain in moved and i >= 2 * n // 3 else 2.5
        logits = np.sort(rng.normal(0, spread, (12, K)), axis=1)[:, ::-1]
        top = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
        events.append(Generation(f"r{i}", T0 + 2.0 * i, domain, Context(model="m"), Signal(top[:, 0], top)))
    return events


def test_many_domains_that_move_at_once_make_the_model_suspect_and_one_domain_does_not() -> None:
    [alert] = [one for one in found(harder(2_400, {"a", "b", "c"})) if one.state == "firing"]
    assert (alert.what, alert.n) == ("domains", 3)
    assert "3 of 4 domains of model m moved at once" in alert.message
    assert found(harder(2_400, {"a"})) == []


def test_a_context_that_left_is_not_suspected() -> None:
    """Its domains moved, and then other contexts took its place before the next boundary."""
    settings = replace(SETTINGS, max_fingerprints=1)
    events = harder(2_400, {"a", "b", "c"})
    last = events[-1]
    assert isinstance(last, Generation)
    newer = [
        replace(last, id=f"n{i}", event_time=last.event_time + 60.0 * (i + 1), context=Context(model="other"))
        for i in range(60)
    ]
    assert found(harder(2_400, {"a", "b", "c"})), "in its place it is suspected"
    outputs = play(MemoryStore(), [[*events, *newer]], settings)
    assert [o.kind for o in outputs if isinstance(o, Alert)].count("new_context") == 2
