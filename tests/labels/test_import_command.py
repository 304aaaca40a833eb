"""``driftgauge labels import``: files, web addresses and Kafka; the same labels however often it runs."""

from __future__ import annotations

import csv
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kafka import KafkaConsumer, TopicPartition

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.kafka.connection import KafkaConnection
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.connectors.labels import web
from driftgauge.models.events import Event, Label
from tests.labels.test_presets import FIXTURES, labels_in
from tests.service.test_cli import driftgauge


def imported(*arguments: object, folder: Path) -> dict[str, Any]:
    assert driftgauge("labels", "import", *arguments, "--json", folder / "summary.json") == 0
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def events_of(path: Path) -> list[Event]:
    return Decoder().decode([Record("f", 0, n, None, line) for n, line in enumerate(path.read_bytes().splitlines())])


def test_a_file_holds_the_labels_that_the_decoder_reads(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    source = FIXTURES / "label-studio_export.json"
    summary = imported(source, "--from", "label-studio", "--to", out, folder=tmp_path)
    assert events_of(out) == labels_in(source.name)
    before = out.read_bytes()
    imported(source, "--from", "label-studio", "--to", out, folder=tmp_path)
    assert out.read_bytes() == before
    assert (summary["records"], summary["labels"], summary["withdrawals"]) == (5, 3, 1)
    assert summary["refused"] == {"other_name": 1, "labels_out_of_scale": 1, "no_value": 1}
    assert summary["annotators"] == {"human 1": 2, "human 2": 1}
    assert summary["agreement"] == {"n_responses": 1, "n_pairs": 1, "share": 0.0, "kappa": 0.0}
    assert summary["examples"]["no_value"] == [f"{source}, line 5: no value at the path of correct"]


@pytest.mark.parametrize(("source", "code"), [("missing.jsonl", 1), ("labels.jsonl", 2)])
def test_an_import_that_fails_leaves_the_labels_that_were_there(
    source: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.jsonl").write_text("before")
    arguments = (FIXTURES / "csv.csv", source, "--from", "csv", "--to", tmp_path / "labels.jsonl")
    assert driftgauge("labels", "import", *arguments) == code
    assert Path("labels.jsonl").read_text() == "before"


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "labels.jsonl"
    imported(FIXTURES / "csv.csv", "--from", "csv", "--to", out, "--dry-run", folder=tmp_path)
    assert not out.exists()
    assert "8 records: 3 labels, 0 withdrawals" in capsys.readouterr().out


def test_a_name_chooses_the_scores_that_are_labels(tmp_path: Path) -> None:
    source = FIXTURES / "langfuse.json"
    chosen = ("--name", "toxicity", "--dry-run")
    summary = imported(source, "--from", "langfuse", *chosen, folder=tmp_path)
    assert (summary["labels"], summary["refused"]) == (1, {"other_name": 5, "skipped": 1})


def test_rows_of_parquet_and_of_packed_csv_are_those_of_csv(tmp_path: Path) -> None:
    pyarrow_csv, parquet = pytest.importorskip("pyarrow.csv"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow_csv.read_csv(FIXTURES / "csv.csv")
    parquet.write_table(table, tmp_path / "labels.parquet")
    (tmp_path / "labels.csv.gz").write_bytes(gzip.compress((FIXTURES / "csv.csv").read_bytes()))
    for name in ("labels.parquet", "labels.csv.gz"):
        out = tmp_path / "out.jsonl"
        imported(tmp_path / name, "--from", "csv", "--to", out, folder=tmp_path)
        assert events_of(out) == labels_in("csv.csv")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_columns_may_be_separated_as_other_spreadsheets_do(delimiter: str, tmp_path: Path) -> None:
    rows = csv.reader((FIXTURES / "csv.csv").read_text().splitlines())
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    out = tmp_path / "out.jsonl"
    imported(tmp_path / "labels.csv", "--from", "csv", "--to", out, folder=tmp_path)
    assert events_of(out) == labels_in("csv.csv")


@pytest.mark.parametrize(
    "table",
    [
        "response_id, correct, event_time, annotator_kind\n17, 1, 2026-09-01, human\n",
        "sep=;\r\nresponse_id;correct;event_time\r\n17.0;TRUE;2026-09-01 00:00:00 UTC\r\n",
        "\ufeffresponse_id,correct,event_time,annotator_kind\n17.0,y,1788220800.0,Human\n",
        "response_id,correct,event_time\n17,👍🏽,1788220800000\n",
        'response_id,correct,event_time,comment\r17,100%,2026-09-01,"two\rlines"\r',
        "response_id;correct;inclusion_probability;event_time\n17;1,0;0,05;2026-09-01\n",
        "response_id;correct;event_time;annotator_id\n17;1;2026-09-01;J\xfcrgen\n".encode("cp1252"),
    ],
)
def test_a_table_is_read_as_spreadsheets_and_tools_write_it(table: str | bytes, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    out = tmp_path / "out.jsonl"
    imported(tmp_path / "labels.csv", "--from", "csv", "--to", out, folder=tmp_path)
    (label,) = events_of(out)
    assert isinstance(label, Label)
    assert (label.response_id, label.correct, label.event_time) == ("17", 1.0, 1788220800.0)
    assert label.annotator_id in ("", "Jürgen")
    assert label.inclusion_probability in (None, 0.05)


def test_nan_in_a_record_of_labels_costs_its_field_only(tmp_path: Path) -> None:
    record = '{"response_id": "r", "correct": %s, "event_time": "2026-09-01", "inclusion_probability": NaN}\n'
    (tmp_path / "labels.jsonl").write_text(record % 1 + record % "NaN" + '{"response_id": "r", "corr')
    summary = imported(tmp_path / "labels.jsonl", "--from", "csv", "--dry-run", folder=tmp_path)
    assert (summary["labels"], summary["refused"]) == (1, {"no_value": 1, "malformed": 1})
    assert "cut off" in summary["examples"]["malformed"][0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("missing.json", "--from", "csv", "--dry-run"), 1, "missing.json"),
        (("missing.csv", "--from", "csv", "--dry-run"), 1, "missing.csv"),
        ((FIXTURES / "csv.csv", "--from", "cvs"), 2, "must be mapping or one of label-studio"),
        ((FIXTURES / "csv.csv", "--from", "csv", "--token-from", "NOT_SET"), 2, "no such environment variable"),
        ((FIXTURES / "csv.csv", "--from", "mapping"), 2, "labels.mapping.fields has no path for response_id"),
        (("ftp://a/b", "--from", "csv", "--dry-run"), 1, "must begin with http"),
        ((FIXTURES / "csv.csv", "--from", "otel", "--dry-run"), 1, "0 labels"),
    ],
)
def test_what_cannot_be_imported_ends_with_a_message(
    arguments: tuple[object, ...], code: int, message: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert driftgauge("labels", "import", *arguments) == code
    output = capfd.readouterr()
    assert message in output.out + output.err


class Pages(BaseHTTPRequestHandler):
    """Answers with a page of Langfuse's scores by its number, to those who have the token."""

    scores: ClassVar[list[Any]] = json.loads((FIXTURES / "langfuse.json").read_text())["data"]

    def do_GET(self) -> None:
        if self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", "/scores")
            self.end_headers()
            return
        status = 200 if self.headers["Authorization"] == "Basic c2VjcmV0" else 401
        number = int(self.path.partition("page=")[2] or 1)
        meta = {"page": number, "totalPages": len(self.scores)}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"data": self.scores[number - 1 : number], "meta": meta}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Write nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_all_pages_of_a_web_address_are_read(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_TOKEN", "c2VjcmV0\n")
    out, token = tmp_path / "labels.jsonl", ("--token-from", "LANGFUSE_TOKEN")
    summary = imported(f"{server}/scores", "--from", "langfuse", *token, "--to", out, folder=tmp_path)
    assert summary["records"] == len(Pages.scores)
    assert events_of(out) == labels_in("langfuse.json")


@pytest.mark.parametrize(
    ("path", "message"),
    [("/scores?token=hidden", "answers with status 401"), ("/elsewhere", "a redirect is not followed")],
)
def test_an_address_that_gives_no_labels_is_an_error_without_secrets(
    server: str, path: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert driftgauge("labels", "import", f"{server}{path}", "--from", "langfuse", "--dry-run") == 1
    output = capfd.readouterr()
    assert message in output.err
    assert "hidden" not in output.out + output.err


def test_a_page_beyond_the_bound_is_an_error(
    server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANGFUSE_TOKEN", "c2VjcmV0")
    monkeypatch.setattr(web, "MAX_PAGE_BYTES", 100)
    arguments = ("--from", "langfuse", "--token-from", "LANGFUSE_TOKEN", "--dry-run")
    assert driftgauge("labels", "import", f"{server}/scores", *arguments) == 1
    assert "sends more than 100 bytes" in capfd.readouterr().err


@pytest.mark.kafka
def test_labels_arrive_on_the_topic_of_labels(broker: str, tmp_path: Path) -> None:
    topic = "labels-of-argilla"
    create_topics(KafkaConnection((broker,)), [topic], 1, 1)
    settings = ("--set", f"kafka.bootstrap_servers={broker}", "--set", f"kafka.topics.labels={topic}")
    source = FIXTURES / "argilla.json"
    imported(source, "--from", "argilla", *settings, folder=tmp_path)
    partition = TopicPartition(topic, 0)
    with closing(KafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)) as consumer:
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end, read = consumer.end_offsets([partition])[partition], list[Any]()
        while consumer.position(partition) < end:
            read += [one for found in consumer.poll(1_000).values() for one in found]
    records = [Record(topic, 0, one.offset, one.key, one.value, tuple(one.headers)) for one in read]
    found = Decoder().decode(records)
    assert found == labels_in("argilla.json")
    assert [one.key for one in read] == [one.response_id.encode() for one in found if isinstance(one, Label)]
