"""What a batch saves: plain values with a format number, as much as the batch touched."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from driftgauge.agent.commands.terminal import EXIT_FAILED, exit_on
from driftgauge.agent.core.state import STREAM, State
from driftgauge.connectors.testing import MemoryStore
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.saved_format import NewerStateError, SavedFormat
from tests.copying import replace
from tests.pipeline.logs import SETTINGS, START, make_log, play
from tests.pipeline.stepping import Agent, response

ROOT = Path(__file__).parents[2]
ALL_KINDS = replace(
    SETTINGS, committee=CommitteeSettings(challengers=("logistic_regression", "neural_network"), min_labels=3)
)


def test_every_part_of_the_saved_state_has_a_format_number() -> None:
    store = MemoryStore()
    play(store, [make_log(0, 400)], ALL_KINDS)
    names = {name.partition("/")[0] for name in store.tables.state}
    assert names >= {"stream", "context", "domain", "flight", "scale"}
    assert any("committee/version/" in name for name in store.tables.state)
    for name, blob in store.tables.state.items():
        number, since, _ = msgspec.msgpack.decode(blob, type=tuple[int, str, msgspec.Raw])
        assert (number >= 1, since[:1].isdigit()) == (True, True), name


def test_no_state_is_a_pickle_or_the_private_state_of_a_library() -> None:
    words = ("pickle", "__getstate__", "__setstate__", "__reduce__")
    in_memory = ROOT / "models/classify/trees.py"  # joins trees of one forest and saves none of them
    for folder in ("agent/core", "models", "connectors/store"):
        for path in {*(ROOT / folder).rglob("*.py")} - {in_memory}:
            code = path.read_text()
            assert not any(f"{word}(" in code or f"import {word}" in code for word in words), path


def test_old_state_is_migrated_step_by_step_and_newer_state_names_the_version_to_use() -> None:
    steps = (lambda point: [*point, 0.0], lambda point: {"x": point[0], "y": point[1], "z": point[2]})
    newest = SavedFormat("point", steps, since="0.3.0")
    expected = {"x": 1.0, "y": 2.0, "z": 0.0}
    assert newest.unpack(msgspec.msgpack.encode([1.0, 2.0])) == expected  # version 0.1.0 had no envelope
    for number in (0, 1, 2):
        older = SavedFormat("point", steps[:number])
        value = [[1.0, 2.0], [1.0, 2.0, 0.0], expected][number]
        assert newest.unpack(older.pack(value)) == expected
        assert newest.is_old(older.pack(value)) == (number < 2)
    with pytest.raises(NewerStateError, match=r"the saved point has format 3: use driftgauge 0\.3\.0 or newer"):
        SavedFormat("point", steps[:1]).unpack(newest.pack(expected))
    with pytest.raises(ValueError, match="not a saved point"):
        newest.unpack(msgspec.msgpack.encode([]))


def test_a_store_with_newer_state_ends_the_command_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    play(store, [make_log(0, 5)])
    newer = msgspec.msgpack.encode([STREAM.number + 1, "9.0.0", {}])
    with store.transaction() as memory:
        memory.save_state({"stream": newer})
        with pytest.raises(NewerStateError) as caught:
            State.resume(SETTINGS, memory)
    with pytest.raises(SystemExit) as ended:
        exit_on(caught.value)
    assert ended.value.code == EXIT_FAILED
    assert "use driftgauge 9.0.0 or newer" in capsys.readouterr().err


def test_a_batch_saves_what_it_touched_however_many_domains_there_are() -> None:
    agent, sizes = Agent(replace(SETTINGS, max_domains=2_000)), list[dict[str, int]]()
    for n_domains in (10, 1_000):
        for i in range(len(agent.state.domains), n_domains):
            agent.take(replace(response(i, START), domain=f"d{i}"))
        before = dict(agent.store.tables.state)
        agent.take(replace(response(10_000 + n_domains, START), domain="d3"))
        saved = agent.store.tables.state
        sizes.append({name: len(blob) for name, blob in saved.items() if blob is not before.get(name)})
    few, many = sizes
    assert {name.partition("/")[0] for name in few} == {"stream", "domain", "watch"}
    assert few.keys() == many.keys()
    assert many["stream"] < few["stream"] + 100 < 500
    assert max(many.values()) < 10_000
