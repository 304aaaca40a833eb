"""What can be set has an effect, and what is not set is as the core has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from driftgauge.agent.core.state import ContextState, PipelineSettings
from driftgauge.agent.evaluation.fit import save_fit
from driftgauge.agent.service.build import connection, decoder, pipeline_settings
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.decoding.event_maker import Limits
from driftgauge.connectors.kafka.client import KafkaConnection

CORE = (
    "features",
    "classifier",
    "windows",
    "labels",
    "estimates",
    "drift",
    "targets",
    "bounds",
    "context",
    "predictions",
)
OTHER: dict[str, Any] = {
    "classifier.challengers": ["random_forest"],
    "drift.features": ["perplexity"],
    "estimates.confidence_level": 0.8,
    "targets.domains": {"math": 0.9},
}
"""Another value for settings where it cannot be made up."""


def leaves(section: type[BaseModel], above: str) -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", field


def another(path: str, field: Any) -> Any:
    """A valid value that is not the default."""
    default = field.default
    if path in OTHER or default is PydanticUndefined:
        return OTHER[path]
    if isinstance(default, bool):
        return not default
    if isinstance(default, str):
        return next((choice for choice in get_args(field.annotation) if choice != default), "another")
    return default / 2 if isinstance(default, float) and default else default + 1


def core_settings() -> list[tuple[str, Any]]:
    return [leaf for name in CORE for leaf in leaves(Settings.model_fields[name].annotation, f"{name}.")]  # type: ignore[arg-type]  # sections by construction


@pytest.mark.parametrize(("path", "field"), core_settings(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_setting_of_the_core_reaches_the_core(path: str, field: Any, tmp_path: Path) -> None:
    if path == "context.start_from":
        save_fit(tmp_path / "start.fit", ContextState(PipelineSettings()))
        value: Any = str(tmp_path / "start.fit")
    else:
        value = another(path, field)
    changed = load_settings(overrides={path: value})
    assert pipeline_settings(changed) != pipeline_settings(Settings())


def test_the_defaults_are_those_of_the_core() -> None:
    assert pipeline_settings(Settings()) == PipelineSettings()
    assert decoder(Settings()).limits == Limits()


def test_every_setting_of_a_connection_reaches_it() -> None:
    given = {
        "bootstrap_servers": ("a:1",), "security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u",
        "sasl_password": "p", "ssl_cafile": "a", "ssl_certfile": "b", "ssl_keyfile": "c", "ssl_key_password": "d",
        "ssl_check_hostname": False, "client_id": "e", "connect_timeout_s": 3.0,
    }  # fmt: skip
    assert connection(load_settings(overrides={f"kafka.{k}": v for k, v in given.items()})) == KafkaConnection(**given)  # type: ignore[arg-type]  # field names by construction
