"""``driftgauge version``."""

from __future__ import annotations

from importlib.metadata import version as installed_version

from driftgauge.agent.commands.terminal import print_line


def version() -> None:
    """Print the version of driftgauge."""
    print_line(f"driftgauge {installed_version('driftgauge')}")
