"""Secrets stand in environment variables, which the settings only name."""

from __future__ import annotations

import os

from driftgauge.connectors.base import WrongSettingError


def variable(name: str, setting: str) -> str:
    """The value of an environment variable without white space around it; "" where no variable is named.

    Parameters
    ----------
    setting : the setting that names it, for the error

    Raises
    ------
    WrongSettingError
        When the variable is not set or empty.
    """
    value = os.environ.get(name, "").strip() if name else ""
    if name and not value:
        raise WrongSettingError(f"{setting}: the environment variable {name} is not set")
    return value
