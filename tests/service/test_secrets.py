"""No output, error, log or dead letter contains a secret of the settings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from driftgauge.agent.cli import app
from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.publishing.encode import Topics
from driftgauge.connectors.store.sql_store import open_store
from driftgauge.models.events import Rejected

SECRET = "planted-hunter2"
AWAY = "127.0.0.1:1"

COMMANDS: Sequence[Sequence[str]] = (
    ["check-config"],
    ["run"],
    ["dead-letters", "list"],
    ["dead-letters", "retry"],
    ["backup", "--to", "copy.db"],
    ["replay", "--from", "2026-01-01"],
    ["report"],
    ["deliver"],
)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Secrets in every setting that can hold one, and unreachable brokers and databases."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "KAFKA__BOOTSTRAP_SERVERS": AWAY,
        "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA__SASL_USERNAME": "me",
        "KAFKA__SASL_PASSWORD": SECRET,
        "KAFKA__SSL_KEY_PASSWORD": SECRET,
        "KAFKA__CONNECT_TIMEOUT_S": "0.5",
        "KAFKA__PATIENCE_S": "0",
        "SERVER__PORT": "0",
        "GATEWAY__LABELS_TOKEN": SECRET,
        "GATEWAY__CAPTURE__PROMPT_HASH_KEY": SECRET,
        "DELIVERY__SINKS": "{hook: {type: webhook, url_from: HOOK, secret_from: HOOK}}",
        "STORE__URL": f"postgresql://me:{SECRET}@{AWAY}/x?sslpassword={SECRET}",
    }
    monkeypatch.setenv("HOOK", f"http://{AWAY}/{SECRET}")  # refused: a private address
    for name, value in environment.items():
        monkeypatch.setenv(f"DRIFTGAUGE_{name}", value)


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("store", ["postgresql", "sqlite"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_or_logs_a_secret(
    command: Sequence[str], store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if store == "sqlite":
        monkeypatch.setenv("DRIFTGAUGE_STORE__URL", "sqlite:///gauge.db")
        open_store("sqlite:///gauge.db", topics=Topics()).close()
    with caplog.at_level(logging.DEBUG):
        done = CliRunner().invoke(app, list(command))
    written = f"{done.output}{done.exception!s}{done.exception!r}{caplog.text}"
    assert len(written) > 20  # the command did print something
    assert SECRET not in written


def test_the_reason_and_detail_of_a_dead_letter_do_not_repeat_its_record(tmp_path: Path) -> None:
    bad = [f'{{"type": "generation", "id": 7, "text": "{SECRET}"}}', f'{{"{SECRET}": ', f'{{"type": "{SECRET}"}}']
    records = [Record("generations", 0, n, None, text.encode()) for n, text in enumerate(bad)]
    letters = Decoder().decode(records)
    assert len(letters) == len(bad)
    with closing(open_store(f"sqlite:///{tmp_path / 'gauge.db'}", topics=Topics())) as store:
        with store.transaction() as transaction:
            transaction.emit([letter for letter in letters if isinstance(letter, Rejected)])
        kept = store.newest(Rejected, 10)
        messages = store.outbox(10)
    assert [SECRET.encode() in (letter.value or b"") for letter in kept] == [True] * len(
        bad
    )  # the dead letter holds the record itself
    assert SECRET not in "".join(f"{letter.reason}{letter.detail}" for letter in kept)
    assert SECRET.encode() not in b"".join(value for message in messages for _, value in message.headers)
