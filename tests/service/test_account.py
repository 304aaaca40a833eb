"""Every record is in exactly one account, and whoever runs the agent is told what could not be used."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.agent.outlets.account import FinalAccount
from driftgauge.agent.outlets.metrics import Metrics
from driftgauge.agent.outlets.rejection_log import RejectionLog
from driftgauge.agent.service.loop import Loop
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.own import encode_generation, encode_label
from driftgauge.connectors.testing import MemorySink, MemorySource, MemoryStore
from driftgauge.models.account import Account, account_of
from driftgauge.models.events import Context, Event, Generation, Label, Rejected, RejectReason, Signal
from driftgauge.models.outputs import Output
from tests.copying import replace
from tests.crash.agents import records
from tests.pipeline.logs import SETTINGS
from tests.service.test_cli import driftgauge, recording

__all__ = ["recording"]  # a fixture


def generation(name: str, event_time: float = 1.7e9) -> Generation:
    return Generation(name, event_time, "law", Context(model="m"), Signal(chosen_logprobs=np.array([-0.5, -0.1])))


def accounted(max_records: int, seed: int = 5) -> tuple[Loop, MemoryStore]:
    store = MemoryStore()
    log, final = records(seed, 160), FinalAccount()
    loop = Loop(
        SETTINGS,
        Decoder(encoding="msgpack"),
        store,
        lambda: MemorySource(log, max_records=max_records),
        MemorySink,
        observers=[final],
    )
    loop.run()
    assert final.records is loop.account
    return loop, store


def test_used_records_dead_letters_and_tombstones_add_up_to_the_records_read() -> None:
    loop, store = accounted(16)
    log = records(5, 160)
    account = loop.account
    assert account.records == len(log)
    assert account.tombstones == sum(record.value is None for record in log)
    letters = Counter(letter.reason for letter in store.newest(Rejected, 1_000))
    assert account.dead_letters + account.given_up == letters
    assert account.dead_letters["invalid_value"] == sum(record.value == b"garbage" for record in log) > 0
    assert account.given_up["unmatched_label"] > 0
    assert account.used == len(log) - account.tombstones - account.n_dead


def test_the_size_of_batches_does_not_change_the_account() -> None:
    accounts = [accounted(max_records)[0].account for max_records in (1, 7, 1_000)]
    assert accounts[0] == accounts[1] == accounts[2]


EVENTS = st.one_of(
    st.builds(lambda n: generation(f"r{n}"), st.integers(0, 3)),
    st.builds(lambda n: Label(f"l{n}", "r", 1.7e9, 1.0), st.integers(0, 3)),
    st.just(Rejected("malformed", "", topic="t")),
)


@given(st.lists(st.lists(EVENTS, max_size=3), max_size=8), st.data())
def test_a_record_is_in_one_account_whatever_the_core_refuses(batch: list[list[Event]], data: st.DataObject) -> None:
    values = [data.draw(st.sampled_from([None, b""])) for _ in batch]
    events = [event for of_record in batch for event in of_record]
    whole = [event for event in events if isinstance(event, Generation | Label)]
    refused: list[Output] = [
        Rejected(data.draw(st.sampled_from(["id_conflict", "unmatched_label"])), "", event=event)
        for event in whole
        if data.draw(st.booleans())
    ]
    account = account_of(values, events, [len(of_record) for of_record in batch], refused)
    assert account.records == len(batch)
    assert account.used >= 0
    n_rejected = sum(any(isinstance(event, Rejected) for event in of_record) for of_record in batch)
    assert n_rejected <= account.n_dead <= n_rejected + len(refused)


def test_labels_that_are_withdrawn_with_their_topic_were_used_before_however_they_were_read(tmp_path: Path) -> None:
    events = [generation(f"r{i}", 1.7e9 + i) for i in range(40)]
    labels = [
        {"type": "label", "label_id": f"l{i}", "response_id": f"r{i}", "event_time": 1.7e9 + i, "correct": 1 + i % 5}
        for i in range(40)
    ]
    lines = [encode_generation(event, "json") for event in events] + [json.dumps(label).encode() for label in labels]
    account = replayed(tmp_path, lines)[1]
    log = [Record("events", 0, i, None, line) for i, line in enumerate(lines)]
    accounts = []
    for max_records in (1, 7, 1_000):
        source = MemorySource(log, max_records=max_records)
        loop = Loop(PipelineSettings(), Decoder(), MemoryStore(), lambda source=source: source, MemorySink)  # type: ignore[misc]
        loop.run()
        accounts.append(loop.account)
    assert accounts[0] == accounts[1] == accounts[2]
    assert accounts[0].to_json().items() <= account.items()
    assert account["used"] == 40 + sum(accounts[0].given_up.values())


def test_responses_that_share_an_id_are_dead_letters_of_their_own_records(tmp_path: Path) -> None:
    def response(i: int) -> Generation:
        return replace(generation(f"r{i % 7}", 1.7e9 + i), signal=Signal(chosen_logprobs=np.array([-0.5, -0.01 * i])))

    account = replayed(tmp_path, [encode_generation(response(i), "json", packed=False) for i in range(40)])[1]
    assert (account["used"], account["reasons"], account["given_up"]) == (7, {"id_conflict": 33}, {})


def replayed(folder: Path, lines: list[bytes], *more: object) -> tuple[int, dict[str, object]]:
    path = folder / "events.jsonl"
    path.write_bytes(b"\n".join(lines))
    code = driftgauge("replay", path, "--json", folder / "out.json", *more)
    return code, json.loads((folder / "out.json").read_text())["account"]


def test_a_replay_of_which_half_cannot_be_used_ends_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [generation(f"r{i}", 1.7e9 + 30 * i) for i in range(40)]
    lines = [encode_generation(event, "json", packed=False) for event in events]
    lines[::2] = [line.replace(b'"event_time":17', b'"event_time":17000') for line in lines[::2]]
    store = tmp_path / "x.db"
    code, account = replayed(tmp_path, lines, "--store", store)
    assert code == 0
    assert (account["records"], account["used"], account["not_used"]) == (40, 20, 20)
    assert account["reasons"] == {"invalid_time": 20}
    text = "20 of 40 records could not be used: invalid_time 20 (driftgauge dead-letters list --store sqlite:///"
    assert text in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("lines", [[b"a", b"b"], [b'{"type": "page_view"}'] * 3, []])
def test_a_replay_that_can_use_nothing_fails(
    tmp_path: Path, lines: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    code, account = replayed(tmp_path, lines)
    text = capsys.readouterr().out
    assert code == 1
    assert account["used"] == 0
    assert "No drift" not in text
    assert "No domain is watched" in text
    assert (f"None of {len(lines)} records could be used" if lines else "There was no record") in text


def test_a_replay_names_what_still_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chunk = b'{"type":"generation.chunk","id":"c","event_time":1.7e9,"sequence":0,"signal":{"chosen_logprobs":[-1]}}'
    patient = ("--set", "bounds.in_flight_expiry_s=100000")
    code, account = replayed(tmp_path, [encode_generation(generation("r"), "json"), chunk], *patient)
    assert code == 0
    assert (account["in_flight"], account["responses_ahead"]) == (1, 0)
    assert "1 response waits for the last piece." in capsys.readouterr().out


def test_features_end_with_the_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.jsonl"
    label = encode_label(Label("l", "r", 1.7e9, 1.0), "json")
    path.write_bytes(b"\n".join([encode_generation(generation("r"), "json"), label, b"x"]))
    out = ("--out", tmp_path / "out.jsonl", "--json", tmp_path / "account.json")
    assert driftgauge("features", path, *out) == 0
    assert "2 of 3 records could not be used: label 1, malformed 1." in capsys.readouterr().out
    assert json.loads((tmp_path / "account.json").read_text())["used"] == 1
    path.write_bytes(label)
    assert driftgauge("features", path, *out) == 1
    assert "None of 1 records could be used: label 1." in capsys.readouterr().out


def test_an_evaluation_ends_with_the_responses_it_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recording: Path
) -> None:
    with np.load(recording) as known:
        arrays = dict(known)
    arrays["correct"] = arrays["correct"].astype(np.float32)
    arrays["correct"][:10] = np.nan
    arrays["domain"][10:14] = "few"
    np.savez(recording, **arrays)
    code = driftgauge("evaluate", recording, "--k", "1", "--jobs", "1", "--json", tmp_path / "out.json")
    assert code == 0
    (account,) = json.loads((tmp_path / "out.json").read_text())["accounts"].values()
    assert (account["records"], account["used"]) == (200, 186)
    assert account["reasons"] == {"unlabelled": 10, "domain_below_20_labels": 4}
    assert "186 of 200 responses used, 14 not used: unlabelled 10" in capsys.readouterr().out.replace("\n", " ")


class Clock:
    """A clock that a test sets."""

    at = 100.0

    def __call__(self) -> float:
        return self.at


def test_the_log_names_the_first_dead_letter_of_each_reason_and_then_counts_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, state = Clock(), State(PipelineSettings())
    rejections = RejectionLog(clock)

    def reject(*reasons: RejectReason) -> list[str]:
        caplog.clear()
        rejections.batch((), [Rejected(reason, "why", "t", 0, 7) for reason in reasons], state)
        return [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]

    first = reject("malformed", "malformed", "invalid_time")
    assert [line.split(";")[0] for line in first] == [
        "dead letter malformed: why (t/0/7)",
        "dead letter invalid_time: why (t/0/7)",
    ]
    assert reject("malformed", "invalid_time") == []
    clock.at += 59.0
    assert reject("malformed") == []
    clock.at += 1.5
    assert reject("malformed") == ["5 more dead letters: malformed 4, invalid_time 1"]
    many: list[RejectReason] = ["malformed"] * 1_000
    assert reject(*many) == []
    clock.at += 61.0
    caplog.clear()
    rejections.failure(None)
    assert [line.getMessage() for line in caplog.records] == ["1000 more dead letters: malformed 1,000"]
    clock.at += 61.0
    assert reject() == []


def test_metrics_show_every_reason_and_what_became_of_the_records() -> None:
    registry, state = CollectorRegistry(), State(PipelineSettings())
    metrics = Metrics(registry)
    reasons = ("internal_error", "event_time_ahead", "invalid_time", "unmatched_label")
    state.counters.update({f"rejected_{reason}": n for n, reason in enumerate(reasons, 1)})
    metrics.batch([], [], state)
    metrics.account(Account(used=5, tombstones=1, dead_letters=Counter(invalid_time=2, malformed=1)))
    found = [registry.get_sample_value("driftgauge_events_rejected_total", {"reason": reason}) for reason in reasons]
    assert found == [1, 2, 3, 4]
    outcomes = ("used", "dead_letter", "tombstone")
    name = "driftgauge_records_accounted_total"
    assert [registry.get_sample_value(name, {"outcome": outcome}) for outcome in outcomes] == [5, 3, 1]
