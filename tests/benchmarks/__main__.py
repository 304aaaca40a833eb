"""Runs every benchmark and prints one table; the figures go to bench.json as well.

python -m tests.benchmarks [NAME ...]: only these modules of the folder.
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent
OUT = Path("bench.json")


def measured(names: list[str], console: Console) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}
    for module in pkgutil.iter_modules([str(FOLDER)]):
        if module.name == "__main__" or (names and module.name not in names):
            continue
        measure = getattr(importlib.import_module(f"tests.benchmarks.{module.name}"), "measure", None)
        if measure:
            with console.status(module.name):
                results |= measure()
    return results


def table(results: dict[str, dict[str, Any]]) -> Table:
    made = Table("what", "unit")
    for name in ("value", "baseline", "ratio"):
        made.add_column(name, justify="right")
    for name, result in results.items():
        made.add_row(name, result["unit"], *(_short(result[key]) for key in ("value", "baseline", "ratio")))
    return made


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    console = Console()
    results = measured(sys.argv[1:], console)
    OUT.write_text(json.dumps(results, indent=2, allow_nan=False) + "\n")
    console.print(table(results))
