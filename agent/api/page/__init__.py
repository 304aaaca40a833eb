"""The dashboard: one page and its files, which ask the API for everything that they show."""

from __future__ import annotations

import hashlib
from functools import partial
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def page_routes() -> list[Route]:
    """The page at ``/`` and its files below ``/assets``, read once."""
    folder = files("driftgauge.agent.api.page")
    routes = []
    for file in folder.iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in TYPES:
            path = "/" if file.name == "index.html" else f"/assets/{file.name}"
            routes.append(Route(path, partial(_file, file.read_bytes(), TYPES[suffix]), methods=["GET"]))
    return routes


async def _file(content: bytes, media_type: str, request: Request) -> Response:
    etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)
