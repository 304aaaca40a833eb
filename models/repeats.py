"""Whether a response that arrives under a known id is the known response again, or another one.

Only equal content makes a repeat. Senders reuse ids: counters start again with a session, and some servers draw their
ids from a thousand numbers.
"""

from __future__ import annotations

import numpy as np

from driftgauge.models.events import Arrival
from driftgauge.models.rows import ResponseRow

TOLERANCE = 1e-3
"""Relative and absolute difference of two values of a feature that are taken as equal.

Features of very long streams are approximate, and a response may be sent again with other precision.
"""


def is_repeat(arrival: Arrival, row: ResponseRow) -> bool:
    """Whether the arrival has the content of the stored response.

    Features, number of tokens, finish reason and event time are compared. A finish reason that one of both lacks does
    not count, nor does an event time that is only that of the record, unless there are no features: a response that is
    sent again has a new one. One without any time may have been dated (`EventTime.dated`).
    """
    generation, n = arrival.generation, min(len(arrival.features), len(row.features))
    finish_reasons = {generation.finish_reason, row.finish_reason} - {None}
    if arrival.n_tokens != row.n_tokens or len(finish_reasons) > 1:
        return False
    ours, theirs = arrival.features[:n], row.features[:n]
    has_features = not (np.isnan(ours).all() and np.isnan(theirs).all())
    is_time_of_record = generation.lacks_time or generation.event_time == generation.origin.broker_time
    if generation.event_time != row.event_time and not (has_features and is_time_of_record):
        return False
    return np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def is_end_of(arrival: Arrival, row: ResponseRow) -> bool:
    """Whether a stream may be the last pieces of the stored response, sent again without the first ones.

    Pieces without a number do not say how many came before them. Such a stream has the event time of the response, and
    fewer tokens.
    """
    return arrival.generation.event_time == row.event_time and arrival.n_tokens < row.n_tokens
