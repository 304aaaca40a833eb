"""Functions of users that settings name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from driftgauge.connectors.base import WrongSettingError


def user_function(name: str, setting: str) -> Callable[..., Any]:
    """The function ``package.module:function``. ``setting`` is where it is named, for people.

    Raises
    ------
    WrongSettingError
        When it cannot be imported, or is no function.
    """
    module, _, attribute = name.partition(":")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise WrongSettingError(f"{setting}: cannot import {name}: {error}") from None
    if not callable(function):
        raise WrongSettingError(f"{setting}: {name} is not a function")
    found: Callable[..., Any] = function
    return found
