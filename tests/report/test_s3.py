"""Reports in S3: moto's S3 on this machine, through s3fs. Run by ``make test-s3``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

pytest.importorskip("moto")
pytest.importorskip("s3fs")

from driftgauge.agent.outlets.report_files import ReportWriter
from driftgauge.agent.service.reporting import CalendarReports
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.files.folder import open_folder
from driftgauge.connectors.testing import MemoryStore
from tests.report.examples import DAY_S
from tests.report.test_scheduled import at, store_with_estimates


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket; the settings of the client come from the environment."""
    import boto3
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    name = f"reports-{uuid4().hex}"  # all servers of one process have the same buckets
    boto3.client("s3").create_bucket(Bucket=name)
    yield f"s3://{name}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


@pytest.mark.parametrize("below", ["", "/gauge/eu/"])
def test_a_calendar_period_gets_one_report_in_a_bucket(bucket: str, below: str, url: str) -> None:
    store_with_estimates(url, at("2026-03-01T00:00:00Z"))
    writer = ReportWriter(url, bucket + below, DAY_S)
    for run in ("2026-05-04T06:00:00Z", "2026-05-04T06:00:00Z", "2026-05-05T06:00:00Z"):
        CalendarReports(writer, "day", MemoryStore()).write_due(at(run))
    names = [f"report-202605{a}T0000Z-202605{b}T0000Z" for a, b in (("03", "04"), ("04", "05"))]
    assert open_folder(bucket + below).names() == {f"{name}.{end}" for name in names for end in ("html", "json", "md")}


def test_of_many_writers_of_one_object_exactly_one_creates_it(bucket: str) -> None:
    together = threading.Barrier(8)

    def create(_: int) -> bool:
        together.wait()
        return open_folder(bucket).create("report.md", b"text")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(create, range(8))).count(True) == 1


def test_what_another_agent_has_written_is_seen(bucket: str) -> None:
    import boto3

    folder = open_folder(bucket)
    folder.create("a.md", b"text")
    assert folder.names() == {"a.md"}
    boto3.client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key="b.md", Body=b"of another agent")
    assert not folder.create("b.md", b"text")
    assert folder.names() == {"a.md", "b.md"}


def test_a_bucket_that_does_not_exist_is_an_error_and_is_not_made(bucket: str) -> None:
    folder = open_folder(bucket + "-of-others/x")
    assert folder.names() == set()
    with pytest.raises(ConnectorError, match=f"folder {bucket}-of-others/x: "):
        folder.create("report.md", b"text")
    with pytest.raises(ConnectorError):
        folder.replace("report.md", b"text")
