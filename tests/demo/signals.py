"""Signals for commands that tests start."""

from __future__ import annotations

import signal


def accept_ctrl_c() -> None:
    """Do not ignore Ctrl-C: a shell lets commands in the background ignore it, and this process inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
