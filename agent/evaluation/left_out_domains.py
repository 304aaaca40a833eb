"""The domains of a recording as new ones: each is estimated by a fit to all the others, which its labels never change.

Memory grows with the number of responses of the recording times the number of its domains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from driftgauge.agent.evaluation.compositions import Bench, CachedForests, Domains, Progress
from driftgauge.agent.evaluation.evaluate import fit_on
from driftgauge.agent.evaluation.label_trials import only
from driftgauge.connectors.base import ConnectorError
from driftgauge.models.arrays import Float64s
from driftgauge.models.estimate.averaged import Averaged
from driftgauge.models.estimate.candidates import surprisal_logits
from driftgauge.models.estimate.estimators import Sample


@dataclass(frozen=True, slots=True, eq=False)
class LeftOutDomain:
    """One domain: all its responses with their labels, and the default estimator fitted on the ``others``.

    ``p`` (n,) are the probabilities by the forest of the estimator, ``surprisal`` (n,) is `surprisal_logits`.
    """

    name: str
    others: Domains
    estimator: Averaged
    sample: Sample
    p: Float64s
    surprisal: Float64s

    @property
    def truth(self) -> float:
        """The accuracy, from all labels."""
        return float(self.sample.correct.mean())

    def with_labels(self, at: npt.NDArray[np.intp], weight: Float64s) -> Sample:
        """The responses with these labels only, and their weights (n,)."""
        return replace(self.sample, correct=only(self.sample.correct, at), weight=weight)


def left_out_domains(bench: Bench, least: int, jobs: int, progress: Progress) -> Iterator[LeftOutDomain]:
    """Every domain of a recording, in order.

    Raises
    ------
    ConnectorError
        When the recording has fewer than ``least`` domains.
    """
    names = sorted(bench.source.rows)
    if len(names) < least:
        text = f"{bench.source.name}: {len(names)} domains with enough labels; this protocol needs {least}"
        raise ConnectorError(text, retriable=False)
    groups: list[Domains] = [tuple(name for name in names if name != domain) for domain in names]
    parts = [tuple(name for name in group if name != out) for group in groups if len(group) > 1 for out in group]
    forests = CachedForests(bench)
    forests.fit(groups + parts, jobs, progress)
    for done, (domain, group) in enumerate(zip(names, groups, strict=True), start=1):
        rows, p = bench.source.rows[domain], forests.target(group)
        sample = bench.source.sample("", rows, p[rows, None])
        estimator = fit_on(bench, group, forests)
        yield LeftOutDomain(
            domain, group, estimator, sample, p[rows].astype(np.float64), surprisal_logits(sample.features)
        )
        progress("domains", done, len(names))
