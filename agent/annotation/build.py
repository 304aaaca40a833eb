"""From settings to annotation tools and the readers of labels: the only module of this package that knows settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from driftgauge.agent import kafka_settings
from driftgauge.agent.annotation.hooks import Check, Hook, bearer_secret, standard_webhooks
from driftgauge.agent.environment import variable
from driftgauge.agent.service import build, build_decoding
from driftgauge.config.annotation import ToolSettings
from driftgauge.config.settings import Settings
from driftgauge.connectors.annotation import argilla, label_studio
from driftgauge.connectors.annotation.json_api import ApiKey, JsonApi
from driftgauge.connectors.annotation.reconcile import Reconciliation, nothing_known
from driftgauge.connectors.annotation.tasks import AnnotationTool
from driftgauge.connectors.base import WrongSettingError
from driftgauge.connectors.capture.outbox import Outbox
from driftgauge.connectors.capture.publisher import Publisher
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.labels.mapping import LabelMapping
from driftgauge.connectors.labels.presets import PRESETS
from driftgauge.connectors.store.queries import StoreQueries
from driftgauge.models.events import Label

OUTBOX_BYTES = 64 << 20
"""Labels of webhooks that wait for the broker."""

TOOLS = ("label-studio", "argilla")

_SECRETS: Mapping[str, Callable[[str], Check]] = {"label-studio": bearer_secret, "argilla": standard_webhooks}


def has_address(settings: Settings, name: str) -> bool:
    """Whether the settings name a server of this tool."""
    return bool(_section(settings, name).url)


def tool(settings: Settings, name: str, *, create: bool = False) -> AnnotationTool:
    """The tool with this name; the server is asked for its project or dataset.

    Parameters
    ----------
    create : make the project or dataset where there is none

    Raises
    ------
    ConnectorError
        When a setting is missing or the server does not have what is named.
    """
    section = _section(settings, name)
    place = f"annotation.{name.replace('-', '_')}"
    if not section.url:
        raise WrongSettingError(f"the setting {place}.url is empty: it names the server")
    token = _needed(section.token_from, f"{place}.token_from")
    if name == "argilla":
        found = settings.annotation.argilla
        api = JsonApi(found.url, ApiKey("X-Argilla-Api-Key", token))
        return argilla.Argilla(api, argilla.dataset_id(api, found.dataset, found.workspace, create=create))
    wanted = settings.annotation.label_studio
    api = JsonApi(wanted.url, label_studio.credentials(wanted.url, token))
    number = label_studio.project_number(api, wanted.project, create=create)
    return label_studio.LabelStudio(api, number, with_predictions=wanted.with_predictions)


def reconciliation(settings: Settings, found: AnnotationTool, queries: StoreQueries | None) -> Reconciliation:
    """The comparison of a tool with the labels in a store; None: with nothing."""
    known = nothing_known if queries is None else queries.labels_of
    return Reconciliation(found, _mapping(settings, found.preset), known, LabelScale(settings.labels.scale))


def hooks(
    settings: Settings, put: Callable[[Sequence[Label]], bool], wake: Callable[[str], object] = lambda _: None
) -> list[Hook]:
    """The receivers of webhooks of those tools that have a secret.

    Parameters
    ----------
    put, wake : see `Hook`; ``wake`` also takes the name of the tool

    Raises
    ------
    WrongSettingError
        When no tool has a secret, or a variable is not set.
    """
    named = {name: _section(settings, name).webhook_secret_from for name in TOOLS}
    if not any(named.values()):
        text = "no tool has webhooks: set annotation.label_studio.webhook_secret_from or that of annotation.argilla"
        raise WrongSettingError(text)
    scale = LabelScale(settings.labels.scale)
    return [
        Hook(
            name,
            _SECRETS[name](_needed(named_variable, f"annotation.{name.replace('-', '_')}.webhook_secret_from")),
            _mapping(settings, name),
            put,
            wake=partial(wake, name),
            scale=scale,
        )
        for name, named_variable in named.items()
        if named_variable
    ]


def outbox() -> Outbox:
    """The queue between webhooks and the topic of labels."""
    return Outbox(OUTBOX_BYTES)


def publisher(settings: Settings, filled: Outbox) -> Publisher:
    """The thread that empties the queue; first it looks for the topic, or creates it where the settings allow it."""
    kafka, topics = settings.kafka, list(settings.kafka.topics.labels[:1])
    sink = KafkaSink(build.connection(settings))
    create = kafka_settings.topic_creation(kafka, topics)
    return Publisher(
        filled,
        sink,
        prepare=create if kafka.create_topics else lambda: sink.check(topics),
        oversized=lambda: sink.stats.oversized,
    )


def _mapping(settings: Settings, preset: str) -> LabelMapping:
    """That of ``labels.mapping`` where it starts from the preset of the tool."""
    return build_decoding.label_mapping(settings) if settings.labels.mapping.preset == preset else PRESETS[preset]


def _section(settings: Settings, name: str) -> ToolSettings:
    found: dict[str, ToolSettings] = {
        "label-studio": settings.annotation.label_studio,
        "argilla": settings.annotation.argilla,
    }
    return found[name]


def _needed(name: str, setting: str) -> str:
    needed = f"the setting {setting} is needed"
    if not name:
        raise WrongSettingError(f"{needed}: it names the environment variable")
    return variable(name, needed)
