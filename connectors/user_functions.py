"""Functions of users that settings name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from driftgauge.connectors.base import ConnectorError


def user_function(name: str, setting: str) -> Callable[..., Any]:
    """The function ``package.module:function``. ``setting`` is where it is named, for people.

    Raises
    ------
    ConnectorError
        When it cannot be imported, or is no function.
    """
    module, _, attribute = name.partition(":")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConnectorError(f"{setting}: cannot import {name}: {error}", retriable=False) from None
    if not callable(function):
        raise ConnectorError(f"{setting}: {name} is not a function", retriable=False)
    found: Callable[..., Any] = function
    return found
