"""What a person is to do about each kind of alert.

``docs/operating.md`` has the same table with more text; ``tests/delivery/test_guide.py`` holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from driftgauge.models.outputs import Alert

SHOWN = 5
"""Series that a summary names."""

MAX_LINES = 20
"""Alerts of a group that a message lists."""

ACTIONS: Mapping[str, str] = {
    "below_target": "act on the domain",
    "accuracy_gap": "look at new labels; the classifier adapts to them",
    "drift": "label some responses of the domain",
    "estimate_below_target": "label some responses of the domain; labels prove it or end it",
    "served_model": "ask who changed what is served; name its revision in the events",
    "traffic_mix": "look at the domains that grew; label some of their responses",
    "coverage": "check what the producer sends: log-probabilities are missing or back",
    "label_delay": "ask those who label; estimates rest on older labels meanwhile",
    "vanished_domain": "check the route or the producer of the domain",
    "new_domain": "label some of its responses when it grows",
    "wrong_clock": "correct the clock or the unit of the producer",
    "new_context": "check that the change was intended",
    "returned_context": "nothing; after a rollback of a model it is expected",
    "labels_out_of_scale": "configure labels.scale",
    "id_conflict": "configure decode.response_id",
    "weak_segment": "look at the wrong answers of the slice, then get data or change the prompt for it",
    "refused_context": "fix what the producer sends",
    "new_topic": "look at some of its prompts; name it by a rule if it is to stay",
    "topics_merged": "look for both under the older name",
    "topic_split": "look at both",
}
"""What to do, by kind."""


def sentence(alert: Alert) -> str:
    """What happened, as one sentence that begins with the severity and ends with a full stop.

    >>> from driftgauge.models.outputs import Alert
    >>> values = dict(fingerprint="f", event_time=0.0, since=None, what="p_correct", before=0.9, after=0.7, number=1)
    >>> message = "p_correct of law moved from 0.900 to 0.700"
    >>> alert = Alert(kind="drift", severity="warning", domain="law", message=message, **values)
    >>> sentence(alert), action(alert)
    ('Warning: p_correct of law moved from 0.900 to 0.700.', 'label some responses of the domain')
    """
    text = " ".join(alert.message.split()).rstrip(".")
    return f"{alert.severity.capitalize()}: {text}."


def summary(alerts: Sequence[Alert]) -> str:
    """One sentence about some alerts of one kind, state and context; of a single alert, its `sentence`.

    >>> from types import SimpleNamespace
    >>> fell = [SimpleNamespace(severity="warning", kind="drift", state="firing", series=name) for name in "abcdef"]
    >>> summary(fell)
    'Warning: drift (firing) in 6 series: a, b, c, d, e and 1 more.'
    """
    if len(alerts) == 1:
        return sentence(alerts[0])
    first, names = alerts[0], [str(alert.series) for alert in alerts]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    kind = first.kind.replace("_", " ")
    shown = ", ".join(names[:SHOWN])
    return f"{first.severity.capitalize()}: {kind} ({first.state}) in {len(names)} series: {shown}{more}."


def listed(alerts: Sequence[Alert]) -> list[str]:
    """The sentence of each alert of a group, of the first `MAX_LINES`; a single alert needs no list.

    >>> from types import SimpleNamespace
    >>> fell = [SimpleNamespace(severity="warning", message=f"{name} fell") for name in "ab"]
    >>> listed(fell), listed(fell[:1])
    (['Warning: a fell.', 'Warning: b fell.'], [])
    """
    return [sentence(alert) for alert in alerts[:MAX_LINES]] if len(alerts) > 1 else []


def action(alert: Alert) -> str:
    """What to do about an alert; of a kind that this version does not know, to look at the documentation."""
    return "nothing" if is_over(alert) else ACTIONS.get(alert.kind, "see docs/operating.md")


def is_over(alert: Alert) -> bool:
    """Whether an alert is the end of what it is about.

    >>> from types import SimpleNamespace
    >>> is_over(SimpleNamespace(state="resolved")), is_over(SimpleNamespace(state="no_data"))
    (True, False)
    """
    return alert.state in ("resolved", "ok")
