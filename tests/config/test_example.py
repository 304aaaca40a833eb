"""The example file documents every setting and holds the defaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from driftgauge.config.estimation import ClassifierKind
from driftgauge.config.example import example
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.models.classify.fits import KINDS

EXAMPLE = Path(__file__).parents[2] / "config" / "example.yaml"


def settings_of(section: type[BaseModel], path: str = "") -> Iterator[tuple[str, str | None]]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield f"{path}{name}", inner.__doc__
            yield from settings_of(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", field.description


def test_the_example_file_is_generated_from_the_settings() -> None:
    assert EXAMPLE.read_text() == example(), "run: python -m driftgauge.config.example > config/example.yaml"


def test_the_example_file_holds_the_defaults() -> None:
    assert load_settings(EXAMPLE) == Settings()


def test_every_setting_is_documented() -> None:
    assert [path for path, text in settings_of(Settings) if not (text or "").endswith((".", "`"))] == []


def test_every_setting_that_may_be_zero_explains_zero() -> None:
    unexplained = []
    for path, text in settings_of(Settings):
        section: type[BaseModel] = Settings
        *above, name = path.split(".")
        for part in above:
            section = section.model_fields[part].annotation  # type: ignore[assignment]  # a section by construction
        schema = section.model_json_schema()["properties"][name]
        has_meaning = schema.get("minimum") == 0 and schema.get("maximum", 0) > 1
        if has_meaning and name != "seed" and "0:" not in (text or ""):
            unexplained.append(path)
    assert unexplained == []


def test_the_settings_offer_every_kind_of_classifier_and_no_other() -> None:
    assert set(get_args(ClassifierKind)) == set(KINDS)
