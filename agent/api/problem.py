"""Errors of the API as RFC 9457 describes them: ``application/problem+json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"


class ProblemBody(BaseModel):
    """What went wrong with a request."""

    model_config = ConfigDict(title="Problem")

    type: str = "about:blank"
    title: str
    """The meaning of the status."""
    status: int
    detail: str
    """What to change, for people."""
    errors: list[str] = []
    """Each thing that is wrong, where there may be several."""


class Problem(Exception):  # noqa: N818 - the name of RFC 9457
    """A request that is not answered; the text is for the client and holds no secret.

    >>> Problem(404, "no domain 'law'").status
    404
    """

    def __init__(
        self, status: int, detail: str, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, tuple(errors)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The problem as it is sent."""
        body = {"type": "about:blank", "title": HTTPStatus(self.status).phrase, "status": self.status}
        content = msgspec.json.encode({**body, "detail": self.detail, "errors": self.errors})
        return Response(content, self.status, {**self.headers, "cache-control": "no-store"}, CONTENT_TYPE)


def invalid(where: str, error: ValidationError) -> Problem:
    """The problem with values that a model refused; each is named, none is repeated."""
    return Problem(
        422, f"the {where} cannot be used", [f"{_place(found) or where}: {_text(found)}" for found in error.errors()]
    )


def _place(found: ErrorDetails) -> str:
    return ".".join(map(str, found["loc"]))


def _text(found: ErrorDetails) -> str:
    return "there is no such field" if found["type"] == "extra_forbidden" else found["msg"]
