"""Messages appended to files: complete lines, none lost."""

import base64
import json
from pathlib import Path

import pytest

from driftgauge.connectors.base import ConnectorError, Message
from driftgauge.connectors.files.event_files import FileSink, FileSource

JSON = (("content-type", b"application/json"),)


def test_messages_are_appended_to_the_file_of_their_topic(tmp_path: Path) -> None:
    for value in (b'{"n":1}', b'{"n":2}'):
        sink = FileSink(tmp_path / "out")
        sink.publish([Message(1, "estimates", b"k", value, JSON), Message(2, "alerts", b"k", value, JSON)])
        sink.close()
        sink.close()
    assert (tmp_path / "out" / "estimates.jsonl").read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert (tmp_path / "out" / "alerts.jsonl").read_bytes() == b'{"n":1}\n{"n":2}\n'


def test_a_published_message_is_on_disk_before_the_sink_is_closed(tmp_path: Path) -> None:
    FileSink(tmp_path).publish([Message(1, "estimates", b"", b"{}", JSON)])
    assert (tmp_path / "estimates.jsonl").read_bytes() == b"{}\n"


def test_a_value_that_is_not_json_on_one_line_is_wrapped(tmp_path: Path) -> None:
    raw = Message(1, "dead-letters", b"k", b"\xff\n", (("driftgauge-reason", b"malformed"),))
    sink = FileSink(tmp_path)
    sink.publish([raw, Message(2, "dead-letters", b"", b'{\n"a":1}', JSON)])
    first, second = map(json.loads, (tmp_path / "dead-letters.jsonl").read_bytes().splitlines())
    assert base64.b64decode(first["value_base64"]) == b"\xff\n"
    assert (first["key"], first["headers"]) == ("k", {"driftgauge-reason": "malformed"})
    assert base64.b64decode(second["value_base64"]) == b'{\n"a":1}'


@pytest.mark.parametrize("unfinished", [b'{"n":', b"x" * 200_000])
def test_an_unfinished_line_is_removed_at_the_next_start(tmp_path: Path, unfinished: bytes) -> None:
    path = tmp_path / "estimates.jsonl"
    path.write_bytes(b'{"n":1}\n' + unfinished)
    FileSink(tmp_path).publish([Message(1, "estimates", b"", b'{"n":2}', JSON)])
    assert path.read_bytes() == b'{"n":1}\n{"n":2}\n'


def test_the_files_of_a_sink_can_be_read_as_a_source(tmp_path: Path) -> None:
    FileSink(tmp_path).publish([Message(i, "log", b"", b'{"n":%d}' % i, JSON) for i in range(3)])
    source = FileSource([tmp_path / "log.jsonl"])
    source.open({})
    assert [record.value for record in source.poll(0)] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


def test_a_topic_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    for topic in ("../x", "..", "a/b", ""):
        with pytest.raises(ConnectorError, match="name of a file"):
            FileSink(tmp_path).publish([Message(1, topic, b"", b"{}", JSON)])


def test_a_folder_that_cannot_be_written_is_a_retriable_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file where the folder should be")
    with pytest.raises(ConnectorError, match="cannot write") as error:
        FileSink(tmp_path / "out").publish([Message(1, "t", b"", b"{}", JSON)])
    assert error.value.retriable
