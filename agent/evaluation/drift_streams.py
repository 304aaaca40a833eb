"""One stream in which something changes, or nothing: through the whole agent, and past the rivals.

A stream is a recording in a shuffled order, then another one. Rivals see, domain by domain, the predictions that the
agent made of these responses when they came, and the mean entropy of the responses. Costs are processor time; all else
is determined by the seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import process_time
from typing import NamedTuple, TypeAlias

import numpy as np

from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.evaluation.drift_rivals import Rival, rivals
from driftgauge.agent.evaluation.live import AGENT, played
from driftgauge.connectors.files.recordings import Recording
from driftgauge.connectors.files.traffic import LabelPlan, Traffic
from driftgauge.models.arrays import Float64s
from driftgauge.models.outputs import Alert, Prediction
from driftgauge.models.watch.catalogue import new_mean_change_detector

Method: TypeAlias = tuple[str, str]
"""Name of a method, and the signal that it watches."""

ALERTS: Method = (AGENT, "alerts")
ENTROPY = "entropy_mean"
DETECTOR = "rank_shift"
"""The agent's detector, in `catalogue.DETECTORS`."""


class Detection(NamedTuple):
    """What a method found in one domain at this event time: the kind of the alert; a rival has no kinds."""

    domain: str
    event_time: float
    kind: str
    is_info: bool


class Delay(NamedTuple):
    """What came from the change to a detection: all events, responses of the domain, and labels of these responses."""

    kind: str
    events: int
    responses: int
    labels: int


@dataclass(frozen=True, slots=True)
class Found:
    """What every method found in one stream, in order, and its processor time in microseconds for a response.

    That of the agent is for its detectors alone, of all signals together; ``agent_microseconds`` is for the whole
    agent, labels included.
    """

    detections: Mapping[Method, Sequence[Detection]]
    microseconds: Mapping[Method, float]
    agent_microseconds: float


class Stream:
    """Two recordings, one after another, ``rate`` responses a second; the second begins at the *change*.

    Attributes
    ----------
    traffic : the events
    change : event time of the first response of the second recording
    """

    def __init__(self, before: Recording, after: Recording, plan: LabelPlan, seed: int, *, rate: float = 1.0) -> None:
        self.traffic = Traffic([before, after], plan, seed=seed, rate=rate)
        self.seed = seed
        self.change = float(self.traffic.event_time[len(before)])

    def delay(self, found: Detection) -> Delay:
        """What came from the change to this detection."""
        traffic, end = self.traffic, found.event_time
        is_new = (traffic.event_time >= self.change) & (traffic.event_time <= end)
        of_domain = is_new & (traffic.domain == found.domain)
        has_label = (traffic.label_time >= self.change) & (traffic.label_time <= end)
        events = int(is_new.sum() + has_label.sum())
        return Delay(found.kind, events, int(of_domain.sum()), int((of_domain & has_label).sum()))

    def watched(self, settings: PipelineSettings) -> Found:
        """Everything that the agent and its rivals find."""
        settings = replace(settings, predictions="final")
        alerts, p_correct, agent_s = self._through_agent(settings)
        names, features = settings.features.names, self.traffic.features(settings.features.set)
        watched = {"p_correct": p_correct} | {name: features[:, names.index(name)] for name in settings.drift_features}
        detections, microseconds = {ALERTS: alerts}, {ALERTS: 0.0}
        for values in watched.values():
            microseconds[ALERTS] += self._watched_by(partial(new_mean_change_detector, DETECTOR), values)[1]
        for signal, values in {"p_correct": p_correct, ENTROPY: features[:, names.index(ENTROPY)]}.items():
            for name, new in rivals(self.seed).items():
                detections[name, signal], microseconds[name, signal] = self._watched_by(new, values)
        return Found(detections, microseconds, 1e6 * agent_s / len(p_correct))

    def _through_agent(self, settings: PipelineSettings) -> tuple[list[Detection], Float64s, float]:
        """Alerts when they first fire, (n,) predictions of the responses, NaN without one, and seconds."""
        alerts, predicted, began = dict[tuple[str, int], Detection](), dict[str, float](), process_time()
        for output in played(self.traffic, settings):
            if isinstance(output, Alert) and output.state == "firing":
                found = Detection(output.domain, output.event_time, output.kind, output.severity == "info")
                alerts.setdefault((output.identity, output.began), found)  # repeats have the same
            elif isinstance(output, Prediction) and output.p_correct is not None:
                predicted[output.response_id] = output.p_correct
        seconds = process_time() - began
        return list(alerts.values()), np.array([predicted.get(name, np.nan) for name in self.traffic.id]), seconds

    def _watched_by(self, new: Callable[[], Rival], values: Float64s) -> tuple[list[Detection], float]:
        """Detections of a new detector for every domain, and microseconds for a value; missing values are left out."""
        detectors, detections = defaultdict[str, Rival](new), list[Detection]()
        at = np.flatnonzero(~np.isnan(values))
        columns = [column[at].tolist() for column in (self.traffic.domain, self.traffic.event_time, values)]
        began = process_time()
        for domain, event_time, value in zip(*columns, strict=True):
            if detectors[domain].update(value):
                detections.append(Detection(domain, event_time, "", is_info=False))
        return detections, 1e6 * (process_time() - began) / max(len(at), 1)
