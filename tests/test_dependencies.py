"""Private and undocumented names of libraries: each works as expected and is listed in docs/dependencies.md."""

from __future__ import annotations

import ast
import asyncio
import gzip
import inspect
import logging
import re
import select
import socket
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import KafkaTimeoutError
from kafka.net import KafkaNetSocket
from kafka.net.sasl import get_sasl_mechanism
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from river.linear_model import LogisticRegression
from river.utils import VectorDict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from driftgauge.agent.outlets.http import Response, Server, json_response, listen, pages
from driftgauge.connectors.kafka.joining import keep_finished_joins
from driftgauge.connectors.kafka.sockets import DIRECT_URL, DirectConnection, LargeReads
from driftgauge.connectors.kafka.unpacking import GZIP, BatchTooLargeError, bound_batches
from driftgauge.models.classify.trees import Forest, classification_tree, read, regression_tree

ROOT = Path(__file__).parents[1]
LAYERS = ("agent", "connectors", "models", "config")
PUBLIC_DESPITE_UNDERSCORE = {"_asdict", "_fields", "_make", "_mapping", "_replace"}
"""Documented as public: of named tuples, and ``Row._mapping`` of SQLAlchemy."""


def consumer(**more: Any) -> Any:
    """A consumer that needs no broker, because it is given the broker's version."""
    return KafkaConsumer(bootstrap_servers="127.0.0.1:9", api_version=(4, 0), **more)


def batches(value: bytes) -> Any:
    """What a fetch returns: one compressed batch with one record."""
    builder: Any = MemoryRecordsBuilder(magic=2, compression_type=GZIP, batch_size=1 << 20)
    builder.append(timestamp=0, key=b"k", value=value)
    builder.close()
    return MemoryRecords(builder.buffer())


def check_fetcher() -> None:
    with closing(consumer()) as client:
        bound_batches(client, 1_000)
        make = partial(client._fetcher.PartitionRecords, 0, TopicPartition("t", 0))
        assert [record.value for record in make(batches(bytes(900))).take()] == [bytes(900)]
        with pytest.raises(BatchTooLargeError):
            make(batches(bytes(2_000))).take()


def check_joins() -> None:
    """A join whose outcome no poll has taken is not made again; the client uses both methods for its joins."""
    outcomes = iter([b"first", b"second"])

    async def join() -> bytes:
        return next(outcomes)

    async def complete(*_: object) -> None:
        pass

    with closing(consumer(group_id="g")) as client:
        coordinator = client._coordinator
        coordinator._do_join_and_sync_async, coordinator._on_join_complete_async = join, complete
        keep_finished_joins(client)

        async def work() -> list[bytes]:
            found = [await coordinator._do_join_and_sync_async() for _ in range(2)]
            await coordinator._on_join_complete_async(1, "member", "range", b"first")
            return [*found, await coordinator._do_join_and_sync_async()]

        assert asyncio.run(work()) == [b"first", b"first", b"second"]
    source = inspect.getsource(type(coordinator).join_group_async)
    assert all(f"self.{name}" in source for name in ("_do_join_and_sync_async", "_on_join_complete_async"))


def check_sender() -> None:
    """A producer with a message that nobody takes: `close` fails, and its thread ends by force."""
    client: Any = KafkaProducer(bootstrap_servers="127.0.0.1:9", api_version=(4, 0), max_block_ms=0)
    sender = client._sender
    client._accumulator.append(TopicPartition("t", 0), 0, b"k", b"v", [])
    with pytest.raises(KafkaTimeoutError):
        client.close(timeout=0)
    assert sender.is_alive()
    sender.force_close()
    sender.join(10)
    assert not sender.is_alive()


def check_partition_records() -> None:
    assert list(inspect.signature(Fetcher.PartitionRecords).parameters)[:3] == ["fetch_offset", "tp", "records"]
    assert "self.PartitionRecords(" in inspect.getsource(Fetcher)  # so that an attribute of the instance replaces it


def check_buffer() -> None:
    value = b"some value" * 100
    batch = batches(value).next_batch()
    assert value in gzip.decompress(batch._buffer[batch.HEADER_STRUCT.size :])


def check_config() -> None:
    with closing(consumer()) as client:
        assert client.config["api_version"] == (4, 0)


def check_net_socket() -> None:
    found: Any = KafkaNetSocket(DIRECT_URL)
    assert isinstance(found, DirectConnection)
    parameters = [p.name for p in inspect.signature(KafkaNetSocket.socket).parameters.values()]
    assert parameters == ["self", "family", "sock_type", "proto"]
    with closing(found.socket()) as made:
        assert isinstance(made, LargeReads)


def check_sasl_mechanism() -> None:
    mechanism: Any = get_sasl_mechanism("PLAIN")(sasl_plain_username="user", sasl_plain_password="word")
    assert not mechanism.is_done()
    assert mechanism.auth_bytes() == b"user\0user\0word"
    mechanism.receive(b"")
    assert mechanism.is_done()


def check_selector_log() -> None:
    from kafka.net import selector

    assert selector.log is logging.getLogger("kafka.net.selector")


def check_weights() -> None:
    model: Any = LogisticRegression()
    model._weights = VectorDict({0: 0.5, 3: -1.0})
    assert model.weights == {0: 0.5, 3: -1.0}
    assert model.predict_proba_one({3: 2.0})[True] == pytest.approx(1 / (1 + np.exp(2.0)))


def check_trees() -> None:
    """Trees grown below the estimators are theirs, to the bit: few rows and many, NaN, weights of 0."""
    rng = np.random.default_rng(0)
    for n, n_columns in ((10, 1), (60, 17), (400, 5)):
        rows, right = rng.normal(size=(n, n_columns)).astype(np.float32), np.arange(n) % 3 == 0
        rows[rng.random(rows.shape) < 0.1 * (n > 10)] = np.nan
        weight, values = rng.integers(0, 3, n) * rng.random(n), np.where(right, 1.0, 0.3)
        draw = np.random.RandomState(7)
        regressor = DecisionTreeRegressor(min_samples_leaf=5, max_features="sqrt", random_state=draw)
        regressor.fit(rows, values, sample_weight=weight)
        tree = regression_tree(rows, values, weight, np.random.RandomState(7), min_leaf_rows=5)
        np.testing.assert_array_equal(read(tree, rows), regressor.predict(rows))
        classifier: Any = DecisionTreeClassifier(max_features="sqrt", random_state=7).fit(rows, right)
        tree = classification_tree(rows, right.astype(float), 7)
        np.testing.assert_array_equal(read(tree, rows), classifier.predict_proba(rows)[:, 1])
        trees = [classification_tree(rows, right.astype(float), seed) for seed in range(9)]
        total = np.add.accumulate([read(tree, rows) for tree in trees])[-1]
        for some in (rows[:1], rows[:7], rows):  # few rows are read from all trees at once
            np.testing.assert_array_equal(Forest(trees).mean(some), (total / 9)[: len(some)])


def check_h11_protocol() -> None:
    """A client that does not finish its headers is cut off, at the first request and at a later one."""
    with closing(Server(pages({"/": lambda: json_response({})}), listen("127.0.0.1", 0), timeout_s=0.1)) as server:
        for before in (b"", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"):
            with closing(socket.create_connection((server.host, server.port), 30)) as client:
                client.sendall(before)
                answer = b""
                while before and not answer.endswith(b"{}\n"):  # headers and body may come apart
                    part = client.recv(4096)
                    assert part
                    answer += part
                assert answer.startswith(b"HTTP/1.1 200 OK" if before else b"")
                client.sendall(b"GET / HT")
                assert client.recv(4096) == b""


def check_write_pauses() -> None:
    """A client that does not read what it asked for is cut off."""
    large = pages({"/": lambda: Response(bytes(1 << 24))})
    with (
        closing(Server(large, listen("127.0.0.1", 0), timeout_s=0.1)) as server,
        closing(socket.create_connection((server.host, server.port), 30)) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        errors = select.poll()
        errors.register(client, 0)  # it says when the connection is gone, and reads nothing
        assert errors.poll(30_000)


CHECKS: dict[str, Callable[[], None]] = {
    "KafkaConsumer._fetcher": check_fetcher,
    "KafkaConsumer._coordinator": check_joins,
    "ConsumerCoordinator._do_join_and_sync_async": check_joins,
    "ConsumerCoordinator._on_join_complete_async": check_joins,
    "KafkaProducer._sender": check_sender,
    "DefaultRecordBatch._buffer": check_buffer,
    "LogisticRegression._weights": check_weights,
    "Fetcher.PartitionRecords": check_partition_records,
    "KafkaConsumer.config": check_config,
    "KafkaNetSocket": check_net_socket,
    "get_sasl_mechanism": check_sasl_mechanism,
    "selector.log": check_selector_log,
    "Tree.predict": check_trees,
    "Tree.__setstate__": check_trees,
    "H11Protocol": check_h11_protocol,
    "H11Protocol.pause_writing": check_write_pauses,
    "sklearn.tree._criterion": check_trees,
    "sklearn.tree._splitter": check_trees,
    "sklearn.tree._tree": check_trees,
}


def tables() -> list[list[list[str]]]:
    """The three tables of the page: libraries, private names, undocumented names; code marks are left out."""
    text = (ROOT / "docs" / "dependencies.md").read_text().replace("`", "")
    found = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]] for table in found]


LIBRARIES, PRIVATE, UNDOCUMENTED = tables()


@pytest.mark.parametrize("name", CHECKS)
def test_a_private_or_undocumented_name_of_a_library_works_as_expected(name: str) -> None:
    CHECKS[name]()


def test_every_listed_name_has_a_check() -> None:
    assert sorted(row[1] for row in PRIVATE + UNDOCUMENTED) == sorted(CHECKS)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC_DESPITE_UNDERSCORE


def own_names(tree: ast.Module) -> Iterator[str]:
    """Names that a module defines: functions, classes, variables and attributes of ``self``."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                yield node.attr


def foreign_private_names(path: Path) -> Iterator[str]:
    """Private attributes that a module uses and does not define, and private modules and names that it imports."""
    tree = ast.parse(path.read_text())
    own = set(own_names(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute() if is_private(node.attr) and node.attr not in own:
                yield node.attr
            case ast.Import() | ast.ImportFrom():
                module = getattr(node, "module", None) or ""
                names = f"{module}.{'.'.join(alias.name for alias in node.names)}".split(".")
                yield from filter(is_private, names)


def test_the_page_lists_exactly_the_private_names_that_the_code_uses() -> None:
    used = {
        (path.parent.relative_to(ROOT).as_posix(), name)
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        for name in foreign_private_names(path)
    }
    assert used == {(folder, name.rpartition(".")[2]) for _, name, folder, *_ in PRIVATE}


def requirement(library: str) -> Requirement:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return next(found for found in map(Requirement, dependencies) if found.name == library)


@pytest.mark.parametrize("library", sorted({row[0] for row in PRIVATE + UNDOCUMENTED}))
def test_a_library_with_private_names_is_bounded_to_tested_minor_versions(library: str) -> None:
    ((_, tested, bounds),) = [row for row in LIBRARIES if row[0] == library]
    specifier = requirement(library).specifier
    assert specifier == SpecifierSet(bounds)
    newest = max(map(Version, tested.split(", ")))
    assert f"<{newest.major}.{newest.minor + 1}" in map(str, specifier)
    assert all(release in specifier for release in (*tested.split(", "), version(library)))
