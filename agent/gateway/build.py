"""From settings to the parts of the gateway: the only module of this package that knows settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from driftgauge.agent import kafka_settings
from driftgauge.agent.gateway.breaker import Breaker
from driftgauge.agent.gateway.door import Door
from driftgauge.agent.gateway.events_door import EventsDoor
from driftgauge.agent.gateway.exchange import CaptureRules
from driftgauge.agent.gateway.labels_door import LabelsDoor
from driftgauge.agent.gateway.naming import CREDENTIALS, METADATA, PROMPTS, DomainFunction, NamingRules
from driftgauge.config.lookups import LookupSettings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import WrongSettingError
from driftgauge.connectors.capture.outbox import Outbox
from driftgauge.connectors.capture.publisher import Publisher
from driftgauge.connectors.decoding.embedding import EmbeddingRules
from driftgauge.connectors.decoding.formats.payload import RequestParameters
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.decoding.lookup import Lookup, Path, path_of
from driftgauge.connectors.kafka.sink import KafkaSink
from driftgauge.connectors.sentence_encoder import encoder
from driftgauge.connectors.user_functions import user_function


def naming_rules(settings: Settings) -> NamingRules:
    """Where domains and slices come from.

    Raises
    ------
    ConnectorError
        The function or the encoder cannot be imported, or a name would be taken from a header with credentials.
    """
    domain = settings.gateway.domain
    return NamingRules(
        domain=_lookup("found", domain.found, METADATA),
        keys={digest.lower(): name for digest, name in domain.keys.items()},
        models=domain.models,
        function=domain_function(domain.function) if domain.function else None,
        slices={name: _lookup(f"slices.{name}", found) for name, found in domain.slices.items()},
        allowed=frozenset(domain.allowed),
        max_domains=domain.max_domains,
        prompt_hash_key=settings.gateway.capture.prompt_hash_key.get_secret_value().encode(),
        embeddings=EmbeddingRules(prompts=PROMPTS, encoder=encoder(settings.topics.encoder)),
    )


def capture_rules(settings: Settings) -> CaptureRules:
    """What is captured, and what events contain."""
    capture, limits = settings.gateway.capture, settings.gateway.limits
    return CaptureRules(
        models=frozenset(capture.models),
        endpoints=frozenset(capture.endpoints),
        omits_key=frozenset(capture.omits_logprobs),
        k=capture.k,
        sampling=capture.sampling,
        domain_sampling=capture.domain_sampling,
        parameters=RequestParameters(
            revision=capture.model_revision or None, logprobs_mode=capture.logprobs_mode or None
        ),
        keep_text=capture.keep_text,
        keep_token_ids=capture.keep_token_ids,
        max_body_bytes=limits.max_body_bytes,
        max_line_bytes=limits.max_line_bytes,
        max_tokens=limits.max_tokens,
    )


def breaker(settings: Settings) -> Breaker:
    """What may be asked."""
    return Breaker(pause_s=settings.gateway.refused_pause_s)


def outbox(settings: Settings) -> Outbox:
    """The queue of events."""
    return Outbox(settings.gateway.limits.max_outbox_bytes)


def put_generation(settings: Settings, outbox: Outbox) -> Callable[[bytes, bytes], bool]:
    """The function that queues the key and the value of a generation event."""
    return partial(outbox.put, settings.events_topic)


def publisher(settings: Settings, outbox: Outbox) -> Publisher:
    """The thread that publishes; first it creates missing topics, where the settings allow it, or looks for them."""
    kafka = settings.kafka
    sink = KafkaSink(kafka_settings.connection(kafka))
    topics = [settings.events_topic, *(kafka.topics.labels[:1] if _takes_labels(settings) else ())]
    prepare = kafka_settings.topic_creation(kafka, topics) if kafka.create_topics else partial(sink.check, topics)
    return Publisher(outbox, sink, prepare=prepare, oversized=lambda: sink.stats.oversized)


def doors(settings: Settings, outbox: Outbox, put_task: Callable[[bytes], bool]) -> list[Door]:
    """The doors that have a token; labels also need a topic."""
    gateway, made = settings.gateway, list[Door]()
    if _takes_labels(settings):
        put = partial(outbox.put, settings.kafka.topics.labels[0])
        token, scale = gateway.labels_token.get_secret_value(), LabelScale(settings.labels.scale)
        made.append(LabelsDoor(put, token=token, scale=scale))
    if token := gateway.events_token.get_secret_value():
        max_bytes, keep_text = gateway.limits.max_request_bytes, gateway.capture.keep_text
        made.append(EventsDoor(put_task, token=token, max_bytes=max_bytes, keep_text=keep_text))
    return made


def _takes_labels(settings: Settings) -> bool:
    return bool(settings.gateway.labels_token.get_secret_value() and settings.kafka.topics.labels)


def domain_function(name: str) -> DomainFunction:
    """The function that the setting names; raises `WrongSettingError` where there is none."""
    return cast(DomainFunction, user_function(name, "gateway.domain.function"))


def _lookup(name: str, found: LookupSettings, *default: Path) -> Lookup:
    paths = tuple(map(path_of, found.paths)) or default
    if any(root == "header" and ".".join(parts).lower() in CREDENTIALS for root, *parts in paths):
        text = f"gateway.domain.{name}: names are not taken from headers with credentials; see gateway.domain.keys"
        raise WrongSettingError(text)
    return Lookup(paths, found.values, found.patterns)
