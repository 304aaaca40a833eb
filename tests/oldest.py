"""Prints the oldest version of each package that driftgauge admits, as constraints for pip (`make test-oldest`).

The packages are those of the base dependencies and of the extra ``postgres``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def constraints() -> list[str]:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    return [f"{requirement.name}=={_oldest(requirement)}" for requirement in map(Requirement, wanted)]


def _oldest(requirement: Requirement) -> str:
    (oldest,) = (bound.version for bound in requirement.specifier if bound.operator == ">=")
    return oldest


if __name__ == "__main__":
    print("\n".join(constraints()))
