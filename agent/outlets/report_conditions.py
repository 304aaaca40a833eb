"""Conditions on a report, for those who gate a release on it: ``below_target>0``. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from driftgauge.agent.outlets.domain_report import VERDICTS
from driftgauge.agent.outlets.report import Report
from driftgauge.agent.outlets.report_words import newest_alerts

_OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}

COUNTS: tuple[str, ...] = (
    *(verdict.replace(" ", "_") for verdict in VERDICTS), "domains", "alarms", "warnings", "dead_letters",
)  # fmt: skip
"""What can be counted: domains by verdict, all domains, alarms and warnings that fire, dead letters that are kept."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A count compared with a number; made by `parse_condition`."""

    count: str
    comparison: str
    number: int

    def holds(self, report: Report) -> bool:
        """Whether the report meets the condition."""
        return _OPERATORS[self.comparison](counts(report)[self.count], self.number)

    def __str__(self) -> str:
        return f"{self.count}{self.comparison}{self.number}"


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises
    ------
    ValueError
        When it is not a name of `COUNTS`, a comparison and a whole number.

    Examples
    --------
    >>> str(parse_condition("below_target > 0"))
    'below_target>0'
    """
    found = re.fullmatch(r"\s*(\w+)\s*(>=|<=|==|>|<)\s*(\d{1,9})\s*", text)
    if found is None or found[1] not in COUNTS:
        raise ValueError(f"{text!r} is not a condition such as below_target>0; counted are {', '.join(COUNTS)}")
    return Condition(found[1], found[2], int(found[3]))


def counts(report: Report) -> dict[str, int]:
    """The value of each name in `COUNTS`."""
    verdicts = [domain.verdict.replace(" ", "_") for domain in report.domains]
    firing = [alert.severity for alert in newest_alerts(report.alerts) if alert.state == "firing"]
    others = {
        "domains": len(verdicts),
        "alarms": firing.count("alarm"),
        "warnings": firing.count("warning"),
        "dead_letters": sum(report.quality.rejected.values()),
    }
    return {name: verdicts.count(name) for name in COUNTS} | others
