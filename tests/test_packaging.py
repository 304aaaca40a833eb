"""What is installed is what is here, and it works on its own."""

import importlib.util
import os
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from driftgauge.agent.service import build_decoding
from driftgauge.config.load import load_settings
from tests.decode.payloads import fixtures

ROOT = Path(__file__).parents[1]
LAYERS = ("agent", "connectors", "models", "config")


def packages_on_disk() -> dict[str, str]:
    folders = {init.parent.relative_to(ROOT) for layer in LAYERS for init in (ROOT / layer).rglob("__init__.py")}
    return {f"driftgauge.{'.'.join(folder.parts)}": folder.as_posix() for folder in folders}


def test_the_list_of_packages_is_that_of_the_folders() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted(packages_on_disk())
    assert setuptools["package-dir"] == packages_on_disk()


def test_every_folder_with_code_is_a_package() -> None:
    with_code = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    assert with_code == {ROOT / folder for folder in packages_on_disk().values()}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left behind here."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*LAYERS, "pyproject.toml", "LICENSE", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)], check=True)
    return next(out.glob("*.whl"))


@pytest.mark.xdist_group("wheel")
def test_the_wheel_holds_the_code_and_the_data_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    data = (".npz", ".yaml", ".html", ".css", ".js", ".svg", ".LICENSE", "uPlot.txt", ".typed")
    files = {
        path
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.suffix == ".py" or path.name.endswith(data)
    }
    assert held == {
        f"driftgauge/{path.relative_to(ROOT).as_posix()}" for path in files if "__pycache__" not in path.parts
    }


@pytest.mark.xdist_group("wheel")
@pytest.mark.timeout(900)
def test_the_installed_wheel_runs_its_demo_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    scripts = tmp_path / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "install", "--no-compile", wheel], check=True)  # the demo compiles what it imports
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in LAYERS:
        (empty / f"{name}.py").write_text("raise RuntimeError('a user may have a module of this name')")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.fullmatch(r"driftgauge \d+\.\d+.*\n", run(scripts / "driftgauge", "version"))
    assert run(scripts / "python", "-m", "driftgauge.agent.cli", "version").startswith("driftgauge ")
    said = run(scripts / "driftgauge", "demo")
    assert "Drift in" in said
    assert "No labels in" in said
    assert list((empty / "out" / "demo").iterdir())


WORKER = """
import pickle, sys
extractor, records = pickle.load(sys.stdin.buffer)
messages = [message for _, message in extractor.extract(records, "features", 3)]
pickle.dump((messages, sorted({name.partition(".")[0] for name in sys.modules})), sys.stdout.buffer)
"""


@pytest.mark.xdist_group("wheel")
def test_a_small_install_makes_the_same_features_with_numpy_and_msgspec_alone(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "install", "--no-deps", "--no-compile", wheel], check=True)
    (site,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    for name in ("numpy", "msgspec"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        for folder in Path(spec.origin).parents[1].glob(f"{name}*"):  # numpy.libs holds its libraries
            (site / folder.name).symlink_to(folder)
    records = [record for fixture in fixtures() for record in fixture.records()]
    overrides = {"decode.keep_text": True, "decode.aliases": ["payload.id"], "features.segments": True}
    extractor = build_decoding.record_extractor(load_settings(None, overrides))
    done = subprocess.run(
        [python, "-c", WORKER], input=pickle.dumps((extractor, records)), capture_output=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    messages, packages = pickle.loads(done.stdout)  # noqa: S301 - our own bytes
    assert messages == [message for _, message in extractor.extract(records, "features", 3)]
    assert len(messages) > 100
    assert {*packages} - {*sys.stdlib_module_names} <= {"__main__", "driftgauge", "numpy", "msgspec"}
