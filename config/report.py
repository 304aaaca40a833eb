"""Settings of the reports."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from driftgauge.config.crontab import check_crontab
from driftgauge.config.section import LISTED, PositiveSeconds, Seconds, Section


class ReportSettings(Section):
    """The periodic report."""

    folder: Annotated[str, Field(min_length=1)] = "reports"
    """Folder for report files, or its URL: `s3://bucket/reports`, with the extra `fsspec` and a package such as s3fs.

    Credentials come from where the package looks for them (variables such as `AWS_PROFILE`), not from the URL."""

    cron: str = ""
    """Times of reports, a crontab line in `timezone`: `0 6 * * *` is every day at six, `0 6 * * 1` every Monday at six.

    The line means what it means to cron: weekday 0 and 7 are Sunday, names, ranges, lists, steps and `@daily` are read.
    Empty: no crontab line."""

    interval_s: Seconds = 0.0
    """Seconds between reports, where there is no crontab line; 0: no periodic reports."""

    timezone: str = "UTC"
    """Time zone of dates and times in reports and of `cron`: an IANA name such as `Europe/Berlin`."""

    period: Literal["", "day", "week", "month"] = ""
    """Calendar period in `timezone` that a scheduled report covers, the last one that has ended. Weeks begin on Monday.

    Each period gets one report, also one that ended while the agent was down. Empty: reports cover `period_s`."""

    period_s: PositiveSeconds = 86_400.0
    """Seconds of event time, up to the newest window, that a report covers where there is no `period`.

    It is compared with the period of the same length before."""

    formats: Annotated[tuple[Literal["markdown", "json", "html"], ...], LISTED, Field(min_length=1)] = (
        "markdown",
        "json",
        "html",
    )
    """File formats of a report: markdown, json, html."""

    @field_validator("folder")
    @classmethod
    def _no_password(cls, folder: str) -> str:
        if "://" in folder and urlsplit(folder).password:
            raise ValueError("must hold no password: it would be in logs; set it where fsspec looks for it")
        return folder

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError("must be a name of the IANA time zone database, such as Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if self.cron and self.interval_s:
            raise ValueError("cron and interval_s exclude each other")
        if self.cron:
            check_crontab(self.cron)
        return self
