"""Settings from a YAML file, the environment and flags; later sources win. One error lists every problem.

`load_file` reads other files of the user in the same way. A file is untrusted: it is read with bounds on its size,
depth and aliases, and only plain values are built. No message repeats a value, which may be a secret.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource
from yaml import YAMLError

from driftgauge.config.plain_yaml import MAX_BYTES, not_text, read
from driftgauge.config.settings import Settings

Tree: TypeAlias = dict[str, Any]
Kind = TypeVar("Kind", bound=BaseModel)

CONFIG_VARIABLE = "DRIFTGAUGE_CONFIG"
MAX_PROBLEMS = 100
_PREFIX = "DRIFTGAUGE_"
_IN_PLAIN_WORDS = {
    "model_type": "must be a group of settings, each as `name: value` on a line below it",
    "dict_type": "must be a mapping, each entry as `name: value` on a line below it",
    "tuple_type": "must be a list",
}
_WANT_TEXT = {"string_type", "path_type", "literal_error", "tuple_type"}
"""Errors of a value where text, or a list of texts, is expected."""


class ConfigError(Exception):
    """The settings cannot be used. The text lists every problem, one per line, and contains no secret."""


def load_settings(path: Path | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """Read the settings from a file, the environment and overrides.

    Parameters
    ----------
    path : YAML file; None: the file that DRIFTGAUGE_CONFIG names, if any
    overrides : values by dotted path, such as ``{"windows.hop_s": 60}``; text is read as in the environment

    Raises
    ------
    ConfigError
        With every problem of every source: the setting, its source, the error, the allowed values.

    Examples
    --------
    >>> load_settings(overrides={"windows.hop_s": "60", "drift.features": "entropy_mean, perplexity"}).drift.features
    ('entropy_mean', 'perplexity')
    >>> load_settings(overrides={"windows.hop": 60})
    Traceback (most recent call last):
    driftgauge.config.load.ConfigError: 1 problem with the settings:
      windows.hop (flag): no such setting; did you mean hop_s?
    """
    if path is None and os.environ.get(CONFIG_VARIABLE):
        path = Path(os.environ[CONFIG_VARIABLE])
    tree, found = ({}, []) if path is None else _read(path)
    layers: dict[str, Tree] = {} if path is None else {str(path): tree}
    layers["environment"] = _environment()
    layers["flag"] = _nested(overrides or {})
    merged: Tree = {}
    for layer in layers.values():
        merged = _merge(merged, layer)
    return _valid(Settings, merged, layers, found, "the settings")


def load_file(path: Path, kind: type[Kind], what: str) -> Kind:
    """Read a YAML file that is no file of settings; ``what`` names its content for people.

    Raises
    ------
    ConfigError
        With every problem of the file.
    """
    tree, found = _read(path, what)
    return _valid(kind, tree, {str(path): tree}, found, what)


def _valid(kind: type[Kind], tree: Tree, layers: dict[str, Tree], found: list[str], what: str) -> Kind:
    """The settings of this tree; raises `ConfigError` with the problems that were found before, and with its own."""
    try:
        settings = kind(**tree)
    except ValidationError as error:
        found = found + [_problem(details, layers, kind) for details in error.errors(include_url=False)]
        raise _listing(found, what) from None
    if found:
        raise _listing(found, what)
    return settings


def _read(path: Path, what: str = "the settings") -> tuple[Tree, list[str]]:
    """The YAML file as plain values, and what is wrong with its keys."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _listing([f"{path}: cannot be read: {error.strerror}"], what) from None
    try:
        tree, found = read(text)
    except ValueError as error:
        raise _listing([f"{path}: {error}"], what) from None
    if tree is not None and not isinstance(tree, dict):
        example = ", like config/example.yaml" if what == "the settings" else ""
        raise _listing([f"{path}: must be a mapping of sections{example}"], what)
    return {str(key): value for key, value in (tree or {}).items()}, [f"{path}: {problem}" for problem in found]


def _environment() -> Tree:
    """Variables named DRIFTGAUGE_SECTION__SETTING; an unknown section is kept, so that it is reported."""
    tree: Tree = EnvSettingsSource(Settings)()
    for name in os.environ:
        section, separator, _ = name.upper().removeprefix(_PREFIX).lower().partition("__")
        if separator and name.upper().startswith(_PREFIX):
            tree.setdefault(section, {})
    return tree


def _nested(overrides: Mapping[str, object]) -> Tree:
    tree: Tree = {}
    for path, value in overrides.items():
        for key in reversed(path.split(".")):
            value = {key: value}
        tree = _merge(tree, value)  # type: ignore[arg-type]  # the loop turned it into a mapping
    return tree


def _merge(below: Tree, above: Tree) -> Tree:
    """Both trees in one; values of ``above`` win."""
    both = {
        key: _merge(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return {**below, **above, **both}


def _problem(details: ErrorDetails, layers: dict[str, Tree], root: type[BaseModel]) -> str:
    """One line: the setting, its source, the error, the allowed values."""
    location = tuple(_short(str(part)) for part in details["loc"])
    where = ".".join(location) or "settings"
    source = next((name for name in reversed(layers) if _holds(layers[name], location)), None)
    place = f"{where} ({source})" if source and location else where
    if details["type"] == "extra_forbidden":
        close = get_close_matches(location[-1], _known(root, location[:-1]), n=1)
        return f"{place}: no such setting" + (f"; did you mean {close[0]}?" if close else "")
    message = _IN_PLAIN_WORDS.get(details["type"]) or details["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be")
    if details["input"] is None and "YAML" not in message:
        message += "; it has no value"
    if details["type"] in _WANT_TEXT and source not in (None, "environment", "flag"):
        message = "; ".join(filter(None, (message, _not_text(source, details["loc"]))))
    return f"{place}: {message}"


def _not_text(path: str, location: tuple[int | str, ...]) -> str:
    """Why a value of a file is not the text that it looks like; "" where there is nothing to say."""
    try:
        with Path(path).open("rb") as file:
            return not_text(file.read(MAX_BYTES), location)
    except (OSError, YAMLError):
        return ""


def _holds(tree: object, location: tuple[str, ...]) -> bool:
    for part in location:
        if isinstance(tree, list | tuple | str):
            return True  # the location is inside a value of this source
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def _known(section: type[BaseModel], location: tuple[str, ...]) -> list[str]:
    """Names of the settings in a section."""
    for part in location:
        field = section.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        section = field.annotation
    return list(section.model_fields)


def _short(key: str) -> str:
    return key if len(key) <= 60 else f"{key[:60]}…"


def title_of(problems: Sequence[str], what: str) -> str:
    """The line above a list of problems.

    >>> title_of(["hop_s: must be positive"], "the settings")
    '1 problem with the settings:'
    """
    return f"{len(problems)} problem{'s' if len(problems) > 1 else ''} with {what}:"


def _listing(problems: list[str], what: str = "the settings") -> ConfigError:
    shown = problems[:MAX_PROBLEMS]
    rest = [f"and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
    return ConfigError("\n  ".join([title_of(problems, what), *shown, *rest]))
