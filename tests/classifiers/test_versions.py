"""The commands ``fit``, ``versions`` and ``rollback`` on a real store."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.agent.commands.check_config import check_fit
from driftgauge.agent.core.context_state import HEAD, contexts_saved
from driftgauge.agent.core.pipeline import Pipeline
from driftgauge.agent.evaluation.fit import rows_of_store
from driftgauge.agent.outlets.versions import contexts_in, named_context, record_of, stored_versions
from driftgauge.agent.service.build import store
from driftgauge.agent.service.build_pipeline import committee_settings
from driftgauge.agent.service.loop import Loop
from driftgauge.agent.service.rollback import requested_rollback, roll_back
from driftgauge.config.load import load_settings
from driftgauge.connectors.base import ConnectorError, Store
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.store.backup import backup
from driftgauge.connectors.store.queries import open_queries
from driftgauge.connectors.testing import MemorySource, MemoryStore, NoSink
from driftgauge.models.events import Chunk, Context, Event, Generation, Label, Tick
from driftgauge.models.outputs import Estimate, Prediction
from tests.pipeline.logs import SETTINGS, make_log, play
from tests.pipeline.logs import signal as make_signal

ARGUMENTS = [
    "--set",
    "classifier.kind=logistic_regression",
    "--set",
    "classifier.challengers=random_forest",
]
GIVEN = load_settings(
    overrides={
        "classifier.kind": "logistic_regression",
        "classifier.challengers": ["random_forest"],
        "classifier.min_labels": 3,
        "classifier.refit_every_labels": 40,
        "classifier.gate_auroc": 0.0,  # the labels of the log are random
    }
)
CONFIGURED = replace(SETTINGS, committee=committee_settings(GIVEN))


def one_context(log: list[Event]) -> list[Event]:
    """The events of the first model."""
    other = {e.id for e in log if isinstance(e, Generation) and e.context.model != "m"}
    other |= {e.piece.id for e in log if isinstance(e, Chunk)}
    return [
        e
        for e in log
        if not (isinstance(e, Generation) and e.id in other)
        and not isinstance(e, Chunk)
        and not (isinstance(e, Label) and e.response_id in other)
    ]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with several versions of one context."""
    path = tmp_path_factory.mktemp("played") / "store.db"
    with closing(store(GIVEN, f"sqlite:///{path}")) as opened:
        play(opened, [one_context(make_log(3, 260))], CONFIGURED)
    return path


@pytest.fixture
def path(played: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    backup(f"sqlite:///{played}", tmp_path / "store.db")
    return tmp_path / "store.db"


def listed(path: Path) -> list[dict[str, Any]]:
    with closing(open_queries(f"sqlite:///{path}")) as reader:
        return stored_versions(contexts_in(reader))


def called(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, f"{result.output} {result.exception}"


def test_versions_are_listed_with_reason_digest_labels_and_metric(path: Path, tmp_path: Path) -> None:
    code, text = called("versions", "--store", str(path), "--json", str(tmp_path / "versions.json"))
    assert code == 0
    found = json.loads((tmp_path / "versions.json").read_text())
    assert found == json.loads(json.dumps(listed(path)))
    assert [v["number"] for v in found] == sorted(v["number"] for v in found)
    assert {v["reason"] for v in found} == {"refitted"}
    assert all(len(v["digest"]) == 16 and v["n_labels"] >= 3 and v["metric"]["n"] >= 0 for v in found)
    assert [v["predicts"] for v in found].count(True) == 1
    assert found[0]["digest"] in text


def test_after_a_rollback_the_agent_predicts_with_that_version(path: Path) -> None:
    first = listed(path)[0]
    code, text = called("rollback", str(first["number"]), "--store", str(path), *ARGUMENTS)
    assert code == 0, text
    with closing(store(GIVEN, f"sqlite:///{path}")) as opened, opened.transaction() as transaction:
        pipeline = Pipeline.resume(CONFIGURED, transaction)
        (context,) = pipeline.state.contexts.values()
    assert context.committee.champion.name == f"{first['kind']}@{first['number']}"
    assert len(context.committee.champion.fits or ()) == first["n_labels"]
    assert {m.name for m in context.committee.challengers} == {"random_forest", "logistic_regression"}
    last = listed(path)[-1]
    assert last["reason"] == f"rolled back to version {first['number']}"
    assert last["digest"] == first["digest"]


def outputs_after_more_traffic(path: Path) -> tuple[set[int], float | None]:
    """The versions that new predictions and an estimate name, and that estimate; the store stays as it is."""
    backup(f"sqlite:///{path}", copy := path.with_name("copy.db"))
    signal = make_signal(np.random.default_rng(0), 12)
    with closing(store(GIVEN, f"sqlite:///{copy}")) as opened, opened.transaction() as transaction:
        pipeline = Pipeline.resume(CONFIGURED, transaction)
        at = pipeline.state.end
        more = [Generation(f"new{i}", at, "a", Context(model="m", temperature=1.0), signal) for i in range(20)]
        outputs = pipeline.step([*more, Tick(at + 3_600)], transaction)
    copy.unlink()
    predictions = [o for o in outputs if isinstance(o, Prediction)]
    estimates = [o for o in outputs if isinstance(o, Estimate) and o.domain == "a" and o.n_events >= 20]
    assert len(predictions) == 20
    assert estimates[-1].status == "ok", estimates[-1]
    newest = estimates[-1]
    return {newest.classifier_version, *(o.classifier_version for o in predictions)}, newest.accuracy


def test_estimates_and_predictions_name_the_listed_version_before_and_after_a_rollback(path: Path) -> None:
    versions, before = outputs_after_more_traffic(path)
    assert versions == {v["number"] for v in listed(path) if v["predicts"]}
    code, text = called("rollback", str(listed(path)[0]["number"]), "--store", str(path), *ARGUMENTS)
    assert code == 0, text
    again, after = outputs_after_more_traffic(path)
    assert again == {v["number"] for v in listed(path) if v["predicts"]} == {max(v["number"] for v in listed(path))}
    assert again != versions
    assert after != before


def test_a_running_agent_goes_back_when_it_is_asked_to(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, *_, last = (version["number"] for version in listed(path))
    with closing(open_queries(f"sqlite:///{path}")) as queries:
        (context,) = contexts_in(queries)
    requests: SimpleQueue[Callable[[Store], None]] = SimpleQueue()
    for number in (first, 99):  # it has no version 99, and goes on
        requests.put(requested_rollback(committee_settings(GIVEN), number, context))
    with closing(store(GIVEN, f"sqlite:///{path}")) as opened, caplog.at_level(logging.INFO, "driftgauge"):
        Loop(CONFIGURED, Decoder(), opened, lambda: MemorySource([]), NoSink, requests=requests).run()
    assert f"version {first} predicts again in context {context}, as asked for" in caplog.text
    assert "no rollback: " in caplog.text
    (predicting,) = [version for version in listed(path) if version["predicts"]]
    assert (predicting["number"] > last, predicting["reason"]) == (True, f"rolled back to version {first}")


def test_a_rollback_is_refused_while_an_agent_uses_the_store(path: Path) -> None:
    with closing(store(GIVEN, f"sqlite:///{path}")):
        code, text = called("rollback", "1", "--store", str(path), *ARGUMENTS)
    assert code == 1
    assert "another agent is using the store" in text


def test_a_rollback_with_other_settings_than_those_of_the_agent_changes_nothing(path: Path) -> None:
    before = listed(path)
    code, text = called("rollback", "1", "--store", str(path))
    assert code == 1
    assert "run this with the settings of the agent" in text
    assert listed(path) == before


def test_a_rollback_to_an_unknown_version_or_context_lists_the_known_ones(path: Path) -> None:
    numbers = [v["number"] for v in listed(path)]
    with closing(store(GIVEN, f"sqlite:///{path}")) as opened:
        with pytest.raises(ConnectorError, match=rf"version 99 is not stored; there are \[{numbers[0]}, "):
            roll_back(opened, committee_settings(GIVEN), 99)
        with pytest.raises(ConnectorError, match=r"no context nowhere; the store has [0-9a-f]{12} \(m\)"):
            roll_back(opened, committee_settings(GIVEN), 1, "nowhere")


def test_a_rollback_makes_no_store_where_there_is_none(tmp_path: Path) -> None:
    code, said = called("rollback", "1", "--store", str(tmp_path / "typo.db"))
    assert (code, said.strip()) == (1, f"there is no store at {tmp_path / 'typo.db'}")
    assert not [*tmp_path.iterdir()]


def test_a_context_is_fitted_to_a_store(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "start.fit"
    code, text = called("fit", "--store", str(path), "--out", str(out), "--set", "classifier.min_labels=3")
    assert code == 0, text
    with closing(open_queries(f"sqlite:///{path}")) as reader:
        contexts = contexts_in(reader)
        (fingerprint,) = contexts
        stored = reader.labelled(fingerprint, 10_000)
        record = record_of(contexts[fingerprint])
    rows = rows_of_store(f"sqlite:///{path}", None, 10_000)
    assert rows.id.tolist() == stored.id.tolist()
    assert 50 < len(rows) <= record.n_labels
    assert f"{len(rows)} labels -> " in text.replace("\n", "")
    assert check_fit(load_settings(overrides={"context.start_from": str(out)})) == str(out)
    with pytest.raises(ConnectorError, match="is no fit to start from"):
        check_fit(load_settings(overrides={"context.start_from": str(path)}))


def test_fit_takes_either_files_or_a_store(path: Path, tmp_path: Path) -> None:
    assert called("fit", "--out", str(tmp_path / "f"))[0] == 2
    assert called("fit", str(path), "--store", str(path), "--out", str(tmp_path / "f"))[0] == 2


def test_a_batch_writes_only_the_state_that_it_changed() -> None:
    log, memory = one_context(make_log(3, 260)), MemoryStore()
    play(memory, [log], CONFIGURED)
    before = dict(memory.tables.state)
    (fingerprint,) = contexts_saved(before)
    assert sum(f"context/{fingerprint}/committee/version/" in name for name in before) > 2
    rows = memory.tables.responses.values()
    unlabelled = next(r.id for r in rows if r.label_kind == "" and r.p_correct == r.p_correct)
    play(memory, [[Label("new", unlabelled, 2e6, 1.0)]], CONFIGURED)
    written = {name for name, value in memory.tables.state.items() if value is not before.get(name)}
    domain = memory.tables.responses[unlabelled].domain
    committee = f"context/{fingerprint}/committee"
    scale = "scale/"  # of the topic that the label came from
    expected = {"stream", scale, f"context/{fingerprint}/", f"{committee}/live", f"{committee}/domain/{domain}"}
    assert written == {*expected, f"domain/{fingerprint}/{domain}", f"watch/{fingerprint}"}


def test_the_contexts_of_an_error_show_what_cannot_be_seen_in_the_name_of_a_model() -> None:
    with pytest.raises(ConnectorError, match=r"f1 \('m\\u202ex'\)"):
        named_context({"f1": {"": HEAD.pack(["m\u202ex", 1])}}, "none")
