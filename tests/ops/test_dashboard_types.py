"""The dashboard has the types of Grafana. `make test-grafana` installs them and the compiler, with npm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ops.files import DASHBOARD

PACKAGES = Path(sys.prefix) / "grafana" / "node_modules"
COMPILER = PACKAGES / ".bin" / "tsc"
OPTIONS = ("--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext")

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANEL_TYPES = {"stat": "Stat", "table": "Table", "timeseries": "TimeSeries", "state-timeline": "StateTimeline"}

HEAD = """\
import type { Dashboard, TableFieldOptions } from '@grafana/schema';
// In JSON a value of an enum is its text, and Grafana fills in the options of a panel that are missing.
type Json<T> = 0 extends 1 & T ? T : T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
type Part<T> = T extends (infer E)[] ? Part<E>[] : T extends object ? { [K in keyof T]?: Part<T[K]> } : T;
"""

pytestmark = [
    pytest.mark.skipif(not COMPILER.exists(), reason="`make test-grafana` installs the types of Grafana with npm"),
    pytest.mark.xdist_group("prometheus"),
]


def program(board: dict[str, Any]) -> str:
    """The dashboard, and the options and field settings of its panels, as constants of Grafana's types."""
    lines = [HEAD]
    for name in PANEL_TYPES.values():
        module = f"@grafana/schema/dist/esm/raw/composable/{name.lower()}/panelcfg/x/{name}PanelCfg_types.gen"
        lines.append(f"import type * as {name} from '{module}';")
    lines.append(f"export const dashboard: Json<Dashboard> = {json.dumps(board)};")
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        name, custom = PANEL_TYPES[panel["type"]], panel["fieldConfig"]["defaults"].get("custom", {})
        fields = "TableFieldOptions" if name == "Table" else f"{name}.FieldConfig"
        lines.append(f"export const options{panel['id']}: Part<Json<{name}.Options>> = {json.dumps(panel['options'])};")
        if custom:
            lines.append(f"export const fields{panel['id']}: Part<Json<{fields}>> = {json.dumps(custom)};")
    return "\n".join(lines)


def errors(folder: Path, board: dict[str, Any]) -> str:
    """What the compiler reports about a dashboard."""
    (folder / "node_modules").symlink_to(PACKAGES)
    (folder / "dashboard.ts").write_text(program(board))
    command = [str(COMPILER), *OPTIONS, "--target", "es2022", "dashboard.ts"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_the_dashboard_has_the_types_of_grafana(tmp_path: Path) -> None:
    assert errors(tmp_path, BOARD) == ""


@pytest.mark.parametrize("place", ["the dashboard", "a panel", "a field", "an option", "a custom field"])
def test_a_wrong_name_or_value_is_found(tmp_path: Path, place: str) -> None:
    board = json.loads(DASHBOARD.read_text())
    panel = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
    defaults = panel["fieldConfig"]["defaults"]
    spoil = {
        "the dashboard": lambda: board.update(refesh="1m"),
        "a panel": lambda: panel.update(targtes=[]),
        "a field": lambda: defaults.update(unti="s"),
        "an option": lambda: panel["options"]["legend"].update(placement="below"),
        "a custom field": lambda: defaults["custom"].update(drawStyle="lines"),
    }
    spoil[place]()
    assert "error TS" in errors(tmp_path, board)
