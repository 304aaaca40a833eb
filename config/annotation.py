"""Settings of annotation tools: where responses go to be labelled, and where labels come back from."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from driftgauge.config.section import Port, Section


class ToolSettings(Section):
    """A server of an annotation tool."""

    url: str = ""
    """Address of the server, such as `https://tool.example`; empty: none."""

    token_from: str = ""
    """Environment variable that holds the token of the server."""

    webhook_secret_from: str = ""
    """Environment variable that holds the secret of its webhooks; empty: webhooks of this tool are refused."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query):
            raise ValueError("must begin with http:// or https:// and name a server")
        if parts.username or parts.password:
            raise ValueError("must hold no password: token_from names the variable with the token")
        return url


class LabelStudioSettings(ToolSettings):
    """A project of a Label Studio."""

    project: str = "driftgauge"
    """Title or number of the project."""

    with_predictions: bool = False
    """Whether annotators see the prediction, preselected. Labels that only confirm it count as their own kind."""

    @field_validator("project", mode="before")
    @classmethod
    def _number_is_text(cls, project: object) -> object:
        return str(project) if type(project) is int else project


class ArgillaSettings(ToolSettings):
    """A dataset of an Argilla."""

    dataset: str = "driftgauge"
    """Name of the dataset."""

    workspace: str = ""
    """Name of the workspace of the dataset; empty: any."""


class AnnotationSettings(Section):
    """Annotation tools, for the commands acquire, labels sync and labels listen: docs/annotation_tools.md."""

    label_studio: LabelStudioSettings = Field(default_factory=LabelStudioSettings)

    argilla: ArgillaSettings = Field(default_factory=ArgillaSettings)

    topic: str = ""
    """Kafka topic for `driftgauge acquire --to topic`: a message for each response; empty: none."""

    host: str = "127.0.0.1"
    """Address on which `driftgauge labels listen` takes webhooks."""

    port: Port = 8085
    """Port for webhooks; 0: any free one."""
