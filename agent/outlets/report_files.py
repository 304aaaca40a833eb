"""Reports as files, in Markdown (`report_markdown`), JSON and HTML (`report_html`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from driftgauge.agent.outlets.domain_report import DomainReport
from driftgauge.agent.outlets.report import Report, latest_period, make_report
from driftgauge.agent.outlets.report_html import to_html
from driftgauge.agent.outlets.report_markdown import to_markdown
from driftgauge.agent.outlets.report_span import Span
from driftgauge.connectors.files.folder import Folder, open_folder
from driftgauge.connectors.publishing.payload import rfc3339, to_json
from driftgauge.connectors.store.queries import open_queries
from driftgauge.models.classify.reliability import ReliabilityBin
from driftgauge.models.estimate.judged import JudgedAccuracy
from driftgauge.models.outputs import Output

Format: TypeAlias = Literal["markdown", "json", "html"]
FORMATS: tuple[Format, ...] = ("markdown", "json", "html")


class WrittenReport(NamedTuple):
    """A report, and its files (paths or URLs) in the order of their formats."""

    report: Report
    files: list[str]


def to_json_report(report: Report) -> str:
    """The report as JSON: newest estimates, alerts and lists as their topics carry them. An unknown value is null."""
    acquisition = _builtin(report.acquisition) if report.acquisition else {"priorities": []}
    content = {
        "report": "driftgauge.report.v2",
        "start": rfc3339(report.start),
        "end": rfc3339(report.end),
        "timezone": report.timezone,
        "newest_window_end": rfc3339(report.window_ends[1]) if report.window_ends else None,
        "n_events": report.n_events,
        "n_labels": report.n_labels,
        "domains": [_domain(domain) for domain in report.domains],
        "silent_domains": report.silent,
        "slices": [_builtin(made) for made in report.slices],
        "weak_segments": _builtin(report.weak_segments) if report.weak_segments else None,
        "alerts": [_builtin(alert) for alert in report.alerts],
        "priorities": acquisition["priorities"],
        "label_lists": [_builtin(made) for made in report.label_lists],
        "label_sources": [asdict(source) for source in report.label_sources],
        "judged": [_judged(domain, found) for domain, found in report.judged.items()],
        "scores": [{"model": s.model, "fingerprint": s.fingerprint, **asdict(s.score)} for s in report.scores],
        "reliability": [_rounded(found) for found in report.reliability],
        "quality": asdict(report.quality),
        "driftgauge_version": report.driftgauge_version,
    }
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


_KINDS: Mapping[Format, tuple[str, Callable[[Report], str]]] = {
    "markdown": (".md", to_markdown),
    "json": (".json", to_json_report),
    "html": (".html", to_html),
}


@dataclass(frozen=True, slots=True)
class ReportWriter:
    """Writes reports on a store into a folder.

    Attributes
    ----------
    store_url : where the estimates are
    folder : see `open_folder`
    period_s : seconds of event time, up to the end of the newest window, where no span is passed
    targets, default_target, confidence_level, timezone : see `make_report`
    """

    store_url: str
    folder: str
    period_s: float
    targets: Mapping[str, float] = field(default_factory=dict)
    default_target: float = 0.8
    confidence_level: float = 0.9
    timezone: str = "UTC"
    formats: Sequence[Format] = FORMATS

    def make(self, span: Span | None = None) -> Report:
        """The report on a span of event time, or on the last period of the store.

        Raises
        ------
        ConnectorError
            When the store cannot be read; without a span also when it holds no estimate.
        """
        with closing(open_queries(self.store_url)) as queries:
            start, end = span or latest_period(queries, self.period_s)
            settings = self.targets, self.default_target, self.confidence_level, self.timezone
            return make_report(queries, start, end, *settings)

    def write(self, span: Span | None = None) -> WrittenReport:
        """Write the report that `make` gives; its files replace those of an earlier report on the same period.

        Raises
        ------
        ConnectorError
            Where `make` does, and when the folder cannot be written.
        """
        report = self.make(span)
        return WrittenReport(report, write_report(report, open_folder(self.folder), self.formats))


def write_report(report: Report, folder: Folder, formats: Sequence[Format] = FORMATS) -> list[str]:
    """Write the files of a report; they replace those of an earlier report on the same period.

    Raises
    ------
    ConnectorError
        When the folder cannot be written.
    """
    return [folder.replace(name, text.encode()) for name, text in contents(report, formats).items()]


def contents(report: Report, formats: Sequence[Format] = FORMATS) -> dict[str, str]:
    """The texts of a report by the names of their files, in the order of the formats."""
    names = file_names(Span(report.start, report.end), formats)
    return {name: _KINDS[kind][1](report) for name, kind in zip(names, formats, strict=True)}


def file_names(span: Span, formats: Sequence[Format] = FORMATS) -> list[str]:
    """The names of the files of the report on a period, with its start and end in UTC.

    >>> file_names(Span(0.0, 86_400.0), ["json"])
    ['report-19700101T0000Z-19700102T0000Z.json']
    """
    return [f"report-{_compact(span.start)}-{_compact(span.end)}{_KINDS[kind][0]}" for kind in formats]


def _domain(domain: DomainReport) -> dict[str, Any]:
    return {
        "domain": domain.estimate.domain,
        "verdict": domain.verdict,
        "target": domain.target,
        "previous_accuracy": domain.previous.accuracy if domain.previous else None,
        "change": domain.change,
        "estimate": _builtin(domain.estimate),
    }


def _judged(domain: str, found: JudgedAccuracy) -> dict[str, Any]:
    return {"domain": domain, **_rounded(found)}


def _rounded(found: JudgedAccuracy | ReliabilityBin) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(found).items()}


def _builtin(output: Output) -> Any:
    return json.loads(to_json(output))


def _compact(seconds: float) -> str:
    """A time in the name of a file, with seconds only where there are some."""
    return (rfc3339(seconds) or "unknown").replace("-", "").replace(":", "").removesuffix("00Z").removesuffix("Z") + "Z"
