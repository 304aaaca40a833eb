"""The key of everything that is estimated and watched over time: one domain in one context, or one slice of it."""

from __future__ import annotations

from typing import NamedTuple

ALL_DOMAINS = "(all)"
"""Stands for a domain where something concerns them all."""


class SeriesKey(NamedTuple):
    """Names one series of estimates, and the window, detectors and alerts that belong to it.

    Attributes
    ----------
    domain : the domain of the responses
    fingerprint : the context they were generated in (`models.events.Context.fingerprint`)
    slice : the part of the domain, such as ``language=de``; empty: the whole domain

    Keys sort by domain, fingerprint and slice.

    Examples
    --------
    >>> str(SeriesKey("law", "0a1b")), str(SeriesKey("law", "0a1b", "language=de"))
    ('law/0a1b', 'law/0a1b/language=de')
    """

    domain: str
    fingerprint: str
    slice: str = ""

    def __str__(self) -> str:
        return "/".join(self) if self.slice else f"{self.domain}/{self.fingerprint}"
