"""From settings to those of the pipeline: what is learned, estimated, watched and listed.

Every setting is passed by the name of the parameter that takes it, so that no two can be exchanged.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.service.build_decoding import feature_spec
from driftgauge.agent.service.fit_files import load_fit
from driftgauge.config.settings import Settings
from driftgauge.connectors.decoding.label_scale import LabelScale
from driftgauge.models.acquire.allocation import Budget
from driftgauge.models.acquire.label_lists import LabelPlan
from driftgauge.models.alerts.book import AlertRules
from driftgauge.models.labels import USE_BY_SOURCE, LabelUse, Use
from driftgauge.models.learn.committee import CommitteeSettings
from driftgauge.models.selection import Selection
from driftgauge.models.signals.assembly import AssemblySettings
from driftgauge.models.slices.grouping import SlicePlan
from driftgauge.models.topics.clustering import TopicSettings
from driftgauge.models.windows import WindowSpec

_UNKNOWN: dict[str, Use] = {"weight_one": "count", "ignore_in_estimates": "teach"}


def pipeline_settings(settings: Settings) -> PipelineSettings:
    """Settings of the pipeline; reads the fitted file that new contexts start from, where one is configured."""
    unfitted = unfitted_pipeline_settings(settings)
    if not settings.context.start_from:
        return unfitted
    return replace(unfitted, fitted=load_fit(Path(settings.context.start_from), unfitted))


def unfitted_pipeline_settings(settings: Settings) -> PipelineSettings:
    """Settings of a pipeline whose contexts start without a fitted file."""
    windows, bounds, labels = settings.windows, settings.bounds, settings.labels
    return PipelineSettings(
        selection=Selection(settings.select.only, settings.select.leave_out),
        windows=WindowSpec(window_s=windows.window_s, window_events=windows.window_events, hop_s=windows.hop_s),
        committee=committee_settings(settings),
        assembly=AssemblySettings(
            max_in_flight=bounds.max_in_flight,
            max_waiting=bounds.max_waiting_chunks,
            expiry_s=bounds.in_flight_expiry_s,
        ),
        features=feature_spec(settings),
        min_coverage=settings.features.min_coverage,
        allowed_lateness_s=windows.allowed_lateness_s,
        max_ahead_s=windows.max_ahead_s,
        max_jump_s=windows.max_jump_s,
        idle_after_s=windows.idle_after_s,
        emit_every_events=windows.emit_every_events,
        emit_every_labels=windows.emit_every_labels,
        material_change=windows.material_change,
        label_policy=labels.policy,
        label_scale=LabelScale(labels.scale).description,
        label_use=LabelUse({**USE_BY_SOURCE, **labels.sources}, _UNKNOWN[labels.unknown_probability]),
        smallest_inclusion_probability=labels.smallest_inclusion_probability or None,
        label_horizon_s=labels.horizon_s,
        max_pending_labels=labels.max_pending,
        alerts=alert_rules(settings),
        alert_link=settings.alerts.link,
        label_plan=label_plan(settings),
        slices=slice_plan(settings),
        confidence_level=settings.estimates.confidence_level,
        min_events=settings.estimates.min_events,
        detect_drift=settings.drift.enabled,
        drift_false_warnings=settings.drift.false_warnings,
        drift_horizon_s=settings.drift.horizon_s,
        drift_season=settings.drift.season,
        drift_detector=settings.drift.detector,
        drift_features=settings.drift.features,
        targets=settings.targets.domains,
        default_target=settings.targets.default,
        false_alarms=settings.targets.false_alarms,
        max_domains=bounds.max_domains,
        max_fingerprints=settings.context.max_fingerprints,
        windows_at_once=bounds.windows_at_once,
        warm_start=settings.context.warm_start,
        topics=topic_settings(settings),
        predictions=settings.predictions.publish,
        seed=settings.classifier.seed,
    )


def alert_rules(settings: Settings) -> AlertRules:
    """When an alert fires, is repeated, and ends."""
    alerts = settings.alerts
    return AlertRules(
        sustained_s=alerts.sustained_s,
        min_sample=alerts.min_sample,
        resolve_after_s=alerts.resolve_after_s,
        repeat_s=alerts.repeat_s,
        no_data_s=alerts.no_data_s,
        max_open=settings.bounds.max_open_alerts,
    )


def topic_settings(settings: Settings) -> TopicSettings:
    """How topics of prompts begin and end."""
    topics = settings.topics
    return TopicSettings(
        enabled=topics.enabled,
        max_topics=topics.max_topics,
        similarity=topics.similarity,
        min_responses=topics.min_responses,
        silent_s=topics.silent_s,
    )


def label_plan(settings: Settings) -> LabelPlan:
    """When and how label lists are drawn."""
    acquisition = settings.acquisition
    return LabelPlan(
        period_s=max(acquisition.period_s, settings.windows.hop_s),  # lists are made at boundaries
        budget=Budget(
            n=acquisition.labels_per_period,
            per_domain=acquisition.labels_per_domain,
            base=acquisition.base_labels,
            target_width=acquisition.target_width,
            across=acquisition.across,
        ),
        n_in_all=acquisition.labels_in_all,
        within=acquisition.within,
        expires_after=acquisition.expires_after,
        link=acquisition.link,
        seed=settings.classifier.seed,
    )


def slice_plan(settings: Settings) -> SlicePlan:
    """Which slices are estimated and searched."""
    slices = settings.slices
    return SlicePlan(
        combinations=slices.combinations,
        max_values=slices.max_values,
        max_estimates=slices.max_estimates,
        finds_weak=slices.weak_segments,
        weak_span_s=slices.weak_span_s,
        weak_min_labels=slices.weak_min_labels,
        weak_false_alarms=slices.weak_false_alarms,
    )


def committee_settings(settings: Settings) -> CommitteeSettings:
    """Settings of the learner of a context."""
    classifier = settings.classifier
    return CommitteeSettings(
        champion=classifier.kind,
        challengers=classifier.challengers,
        min_labels=classifier.min_labels,
        memory_labels=classifier.memory_labels or None,
        correct_domains=classifier.correct_domains,
        refit_every_labels=classifier.refit_every_labels,
        max_training_rows=classifier.max_training_rows,
        promote_after_labels=classifier.promote_after_labels,
        promote_error=classifier.promote_error,
        round_labels=classifier.round_labels,
        smallest_inclusion_probability=settings.labels.smallest_inclusion_probability or None,
        gate_auroc=classifier.gate_auroc,
        gate_min_labels=classifier.gate_min_labels,
        max_versions=classifier.max_versions,
        max_domains=settings.bounds.max_domains,
        seed=classifier.seed,
    )
