"""The record of a saved committee, read without fitting any classifier.

A committee is saved in named parts (`Committee.changes`): ``live`` is what changes with every label, ``domain/...``
holds the tally and the offset of one domain, ``version/...`` a stored version. The layout of the first two is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from driftgauge.models.classify.prequential import Metric, Tally
from driftgauge.models.learn.members import StoredVersion
from driftgauge.models.saved_format import SavedFormat


def _without_evidence(saved: list[Any]) -> list[Any]:
    """Format 2 had evidence from bets that were not fair for all responses: the round of promotion starts again."""
    configured, numbers, members, *others = saved
    return [configured, [*numbers, 0.0], members, *others]


def _one_learner(saved: list[Any]) -> list[Any]:
    """Format 3 had members that learned from every label, and fits without domains: the first of them bridges now."""
    configured, (_, *numbers), members, mean_weight, _, _ = saved
    online = [blob for name, _, _, blob, *_ in members if name == "logistic_regression" and blob is not None]
    return [configured, numbers, [], mean_weight, online[0] if online else None, []]


LIVE = SavedFormat("committee", (lambda numbered: numbered[1:], _without_evidence, _one_learner), since="0.2.0")
DOMAIN = SavedFormat("tally of a domain")


class Live(NamedTuple):
    """The part that changes with every label; ``configured`` is the champion that the settings named."""

    configured: str
    numbers: list[Any]  # labels, label count of the next fit, problem, largest weight
    members: list[list[Any]]  # the champion first, each as `Member.snapshot` gives it
    mean_weight: list[float]
    online: bytes | None
    history: list[StoredVersion]

    def packed(self) -> bytes:
        """As bytes; `read_live` reads them."""
        *before, history = self
        return LIVE.pack([*before, [asdict(version) for version in history]])


def read_live(parts: Mapping[str, bytes]) -> Live:
    """The live part of a saved committee; ValueError for anything else."""
    if "live" not in parts:
        raise ValueError("no committee is saved here")
    fields = LIVE.unpack(parts["live"])
    live = Live(*fields)
    return live._replace(history=[StoredVersion(**v | {"metric": Metric(**v["metric"])}) for v in fields[-1]])


def read_domain(part: bytes) -> tuple[Tally | None, tuple[float, float] | None]:
    """The tally of predictions published for a domain, and its offset with precision; None where there is none yet."""
    tally, offset = DOMAIN.unpack(part)
    return Tally.restore(tally) if tally else None, (offset[0], offset[1]) if offset else None


@dataclass(frozen=True, slots=True)
class CommitteeRecord:
    """The members of a committee (the champion first), the labels it learned from, and how well it predicted.

    ``champion_version`` is the number of the stored version that predicts; None before the first fit.
    """

    configured: str
    members: tuple[str, ...]
    champion_version: int | None
    n_labels: int
    signal_problem: str | None
    versions: list[StoredVersion]
    metrics: list[Metric]


def read_record(parts: Mapping[str, bytes]) -> CommitteeRecord:
    """The record of a saved committee; ValueError for anything else."""
    live = read_live(parts)
    tallies = {name.partition("/")[2]: read_domain(parts[name])[0] for name in parts if name.startswith("domain/")}
    members = [(state[0], Tally.restore(state[5])) for state in live.members]
    return CommitteeRecord(
        configured=live.configured,
        members=tuple(name for name, _ in members),
        champion_version=live.members[0][3] if live.members else None,
        n_labels=live.numbers[0],
        signal_problem=live.numbers[2],
        versions=live.history,
        metrics=metrics_of({domain: tally for domain, tally in tallies.items() if tally}, members),
    )


def metrics_of(published: Mapping[str, Tally], members: Sequence[tuple[str, Tally]]) -> list[Metric]:
    """Prequential metrics, each with n.

    First the predictions published when the responses came (``classifier`` is ``published``), over all domains and
    for each domain. Then every member, over all domains: members predict when the label comes, so all are compared
    on the same labels.
    """
    overall = Tally()
    for name in sorted(published):
        overall.include(published[name])
    by_domain = [published[name].metric("published", name) for name in sorted(published)]
    return [overall.metric("published", None), *by_domain, *(tally.metric(name, None) for name, tally in members)]
