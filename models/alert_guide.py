"""What a person is to do about each kind of alert, and which alert ends which.

``docs/operating.md`` has the same table with more text; ``tests/delivery/test_guide.py`` holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping

from driftgauge.models.outputs import Alert

ACTIONS: Mapping[str, str] = {
    "below_target": "act on the domain",
    "back_on_target": "nothing",
    "accuracy_gap": "look at new labels; the classifier adapts to them",
    "drift": "label some responses of the domain",
    "wrong_clock": "correct the clock or the unit of the producer",
    "new_context": "check that the change was intended",
    "returned_context": "nothing; after a rollback of a model it is expected",
    "labels_out_of_scale": "configure labels.scale",
    "id_conflict": "configure decode.response_id",
    "refused_context": "fix what the producer sends",
}
"""What to do, by kind."""

RESOLVES: Mapping[str, str] = {"back_on_target": "below_target"}
"""The kind of alert that an alert of this kind ends, in the same domain and context."""


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


def action(alert: Alert) -> str:
    """What to do about an alert; of a kind that this version does not know, to look at the documentation."""
    return ACTIONS.get(alert.kind, "see docs/operating.md")
