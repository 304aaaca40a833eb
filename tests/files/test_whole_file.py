"""A file that is written as a whole: complete, or as it was."""

import os
import threading
from pathlib import Path

import pytest

from driftgauge.connectors.files.whole_file import whole_file


def write_half(path: Path, error: type[BaseException]) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_there_stays_until_all_is_written(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before")
    with pytest.raises(error):
        write_half(path, error)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out", b"before")]
    with whole_file(path) as file:
        file.write(b"all")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out", b"all")]


def test_a_link_stays_one(tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "out"
    path.touch()
    link.symlink_to(path)
    with whole_file(link) as file:
        file.write(b"all")
    assert link.is_symlink()
    assert path.read_bytes() == b"all"


def test_what_is_no_regular_file_is_written_to(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    with whole_file(pipe) as file:
        file.write(b"all")
    reader.join()
    assert found == [b"all"]
    assert pipe.is_fifo()


def test_an_error_names_the_path(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out"
    with pytest.raises(FileNotFoundError) as raised, whole_file(path):
        pass
    assert raised.value.filename == str(path)
