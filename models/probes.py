"""Probes: prompts with known answers that are sent to a model on a schedule. Their names, and how they stay apart.

The responses to probes are in domains ``probe:<set>``. They get contexts of their own, whose fingerprints begin with
``probe-``. Windows, classifiers, estimators and detectors are kept for each context, so probes neither teach what
predicts live traffic nor lend strength to its estimates.
"""

from __future__ import annotations

from collections.abc import Mapping

DOMAIN_PREFIX = "probe:"
CONTEXT_PREFIX = "probe-"
SOURCE = "probe"
"""The source of labels that come from checked answers."""

PROMPT_SLICE = "probe_id"
"""The slice that has the id of the prompt, by which recurring prompts are found."""

PROMPT_SLICES = (PROMPT_SLICE, "prompt_hash")
"""Slices that name the prompt of a response, so that responses to the same prompt can be compared."""


def prompt_of(slices: Mapping[str, str]) -> str | None:
    """The name of the prompt, of the first slice that has one; None without one.

    >>> prompt_of({"language": "de", "prompt_hash": "9f3c"}), prompt_of({"language": "de"})
    ('9f3c', None)
    """
    return next((slices[name] for name in PROMPT_SLICES if slices.get(name)), None)


def live_fingerprint(fingerprint: str) -> str:
    """The fingerprint of the context of live traffic that the answers to probes come from.

    >>> live_fingerprint("probe-0a1b2c3d4e5f"), live_fingerprint("0a1b2c3d4e5f")
    ('0a1b2c3d4e5f', '0a1b2c3d4e5f')
    """
    return fingerprint.removeprefix(CONTEXT_PREFIX)


def probe_domain(probe_set: str) -> str:
    """The domain of a set of probes.

    >>> is_probe_domain(probe_domain("arithmetic")), is_probe_domain("arithmetic")
    (True, False)
    """
    return DOMAIN_PREFIX + probe_set


def is_probe_domain(domain: str) -> bool:
    """Whether responses of a domain are answers to probes."""
    return domain.startswith(DOMAIN_PREFIX)


def kept_apart(fingerprint: str, domain: str) -> str:
    """The fingerprint of the context in which the responses of a domain are kept.

    >>> kept_apart("0a1b2c3d4e5f", "billing"), kept_apart("0a1b2c3d4e5f", "probe:arithmetic")
    ('0a1b2c3d4e5f', 'probe-0a1b2c3d4e5f')
    """
    return CONTEXT_PREFIX + fingerprint if is_probe_domain(domain) else fingerprint


def is_probe_context(fingerprint: str) -> bool:
    """Whether a context holds answers to probes."""
    return fingerprint.startswith(CONTEXT_PREFIX)
