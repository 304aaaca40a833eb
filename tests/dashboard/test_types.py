"""The modules of the page have consistent types. `make test-grafana` installs the compiler, with npm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "agent" / "api" / "page"
COMPILER = Path(sys.prefix) / "grafana" / "node_modules" / ".bin" / "tsc"
OPTIONS = (
    "--noEmit", "--checkJs", "--allowJs", "--strict", "--noUnusedLocals", "--types", "", "--target", "es2022",
    "--lib", "es2022,dom,dom.iterable", "--module", "es2022", "--moduleResolution", "bundler",
)  # fmt: skip

pytestmark = pytest.mark.skipif(not COMPILER.exists(), reason="`make test-grafana` installs the compiler with npm")


def errors(main: Path) -> str:
    """What the compiler reports about a module and those that it imports."""
    return subprocess.run([COMPILER, *OPTIONS, main], capture_output=True, text=True, check=False).stdout


def test_the_page_has_consistent_types() -> None:
    assert errors(PAGE / "main.js") == ""


def test_a_wrong_type_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.js"
    wrong.write_text(f'import {{ ratio }} from "{PAGE}/words.js";\nratio("0.5");\n')
    assert "error TS2345" in errors(wrong)
