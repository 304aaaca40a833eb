"""Further ids of responses, under which labels may name them: a batch's ``custom_id``, the record key, and such.

An alias names a response only while it is the only one that has it: the key of a record may be that of a tenant.
"""

from __future__ import annotations

from dataclasses import dataclass

REFRESHED_EVERY_S = 3_600.0
"""Event time after which the age of an alias that names no response is worth a write."""


FIRST_CHOICE = "#0"
"""End of the id of the first of several choices. A label may use it where there is only one."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A further id of a stored response.

    Attributes
    ----------
    name : the further id
    response_id : the response that it names; None where several responses have it, and it therefore names none
    event_time : of the newest response that has it
    """

    name: str
    response_id: str | None
    event_time: float


def claimed(known: Alias | None, name: str, response_id: str, event_time: float) -> Alias:
    """The alias after one more response has it; the very same object where nothing is to be stored.

    >>> first = claimed(None, "ticket-7", "r1", 60.0)
    >>> claimed(first, "ticket-7", "r1", 60.0) is first
    True
    >>> claimed(first, "ticket-7", "r2", 90.0)
    Alias(name='ticket-7', response_id=None, event_time=90.0)
    """
    if known is None:
        return Alias(name, response_id, event_time)
    stays, refreshed_every_s = known.response_id == response_id, 0.0
    if known.response_id is None:  # the key of a busy tenant, for example
        stays, refreshed_every_s = True, REFRESHED_EVERY_S
    if stays and event_time <= known.event_time + refreshed_every_s:
        return known
    return Alias(name, known.response_id if stays else None, max(event_time, known.event_time))
