"""From settings to what reads records: formats, names, embeddings, and the labels of other tools.

Every setting is passed by the name of the parameter that takes it, so that no two can be exchanged.
"""

from __future__ import annotations

from driftgauge.config.lookups import LookupSettings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import WrongSettingError
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.embedding import EmbeddingRules
from driftgauge.connectors.decoding.event_maker import Limits
from driftgauge.connectors.decoding.formats.payload import PayloadError
from driftgauge.connectors.decoding.formats.table import format_named
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.connectors.decoding.lookup import Lookup, path_of
from driftgauge.connectors.decoding.naming import NameRules
from driftgauge.connectors.extract import RecordExtractor
from driftgauge.connectors.labels.mapping import FIELDS, LabelMapping, paths_of
from driftgauge.connectors.labels.presets import PRESETS
from driftgauge.connectors.sentence_encoder import encoder
from driftgauge.models.signals.feature_sets import FeatureSpec


def decoder(settings: Settings, *, features_anywhere: bool = False) -> Decoder:
    """The decoder of records; with ``features_anywhere`` of files, which may hold what extractors made.

    Raises
    ------
    WrongSettingError
        When there is no format of a name in the settings.
    """
    decode = settings.decode
    format_names(settings)
    return Decoder(
        format=decode.format,
        encoding=decode.encoding,
        topic_formats=decode.topic_formats,
        default_domain=decode.default_domain,
        keep_text=decode.keep_text,
        embeddings=embedding_rules(settings) if settings.topics.enabled else None,
        payload_path=decode.payload,
        ignored_content_types=decode.ignored_content_types,
        names=NameRules(
            domain=lookup(decode.domain),
            model_revision=lookup(decode.model_revision),
            slices={name: lookup(found) for name, found in decode.slices.items()},
            response_id=tuple(map(path_of, decode.response_id)),
            aliases=tuple(map(path_of, decode.aliases)),
            single_choice=decode.single_choice,
        ),
        label_scale=LabelScale(settings.labels.scale),
        limits=Limits(**decode.limits.model_dump()),
        features_topic=settings.extract.to if settings.reads_features else "",
        features_anywhere=features_anywhere,
        features=feature_spec(settings),
    )


def format_names(settings: Settings) -> list[str]:
    """The names of formats in the settings; raises `WrongSettingError` where one is the name of none."""
    decode = settings.decode
    named = {
        "decode.format": decode.format,
        **{f"decode.topic_formats.{t}": n for t, n in decode.topic_formats.items()},
    }
    problems = []
    for setting, name in named.items():
        try:
            if name != "auto":
                format_named(name)
        except PayloadError as error:
            problems.append(f"{setting}: {error}")
    if problems:
        raise WrongSettingError("; ".join(problems))
    return [*dict.fromkeys(named.values())]


def embedding_rules(settings: Settings) -> EmbeddingRules:
    """Where embeddings of prompts come from."""
    topics = settings.topics
    return EmbeddingRules(
        paths=tuple(map(path_of, topics.embedding)),
        prompts=tuple(map(path_of, topics.prompt)),
        encoder=encoder(topics.encoder),
    )


def label_mapping(settings: Settings) -> LabelMapping:
    """The mapping of labels of another tool: that of the preset, with what the settings name in its place.

    Raises
    ------
    WrongSettingError
        When there is no such preset or field, or no path for the response id, the truth or the time.
    """
    given = settings.labels.mapping
    known = PRESETS.get(given.preset, LabelMapping())
    found = {name: label_lookup(paths) for name, paths in given.fields.items()}
    fields, problems = {**known.fields, **found}, list[str]()
    if wrong := [name for name in found if name not in FIELDS]:
        text = f"labels.mapping.fields has {', '.join(wrong)}, which no label has; known: {', '.join(FIELDS)}"
        problems.append(text)
    if given.preset and given.preset not in PRESETS:
        problems.append(f"labels.mapping.preset must be one of {', '.join(PRESETS)}")
    elif missing := [name for name in ("response_id", "correct", "event_time") if name not in fields]:
        problems.append(f"labels.mapping.fields has no path for {', '.join(missing)}")
    if problems:
        raise WrongSettingError("; ".join(problems))
    return LabelMapping(
        prefix=given.prefix or known.prefix,
        records=given.records or known.records,
        each=given.each or known.each,
        fields=fields,
        scale=known.scale if given.scale is None else LabelScale(given.scale),
        names=given.names or known.names,
        skip={**known.skip, **given.skip},
        withdraw={**known.withdraw, **given.withdraw},
        defaults={**known.defaults, **given.defaults},
    )


def label_lookup(found: LookupSettings) -> Lookup:
    """The rule by which a field of a label is found in a record of another tool."""
    return Lookup(paths_of(*found.paths), found.values, found.patterns)


def lookup(found: LookupSettings) -> Lookup:
    """The rule by which a name is found in a record."""
    return Lookup(tuple(map(path_of, found.paths)), found.values, found.patterns)


def feature_spec(settings: Settings) -> FeatureSpec:
    """Which features are computed."""
    features = settings.features
    return FeatureSpec(features.set, features.entropy, features.segments)


def record_extractor(settings: Settings) -> RecordExtractor:
    """What readers and extractors make of records."""
    return RecordExtractor(decoder(settings), feature_spec(settings), min_coverage=settings.features.min_coverage)
