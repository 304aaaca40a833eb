"""An Argilla for tests: it answers as Argilla 2.8.0 was recorded to do, with the records in `fixtures`."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.annotation.http_server import Request, serving
from tests.annotation.label_studio import FIXTURES

API_KEY = "planted.key"
RECORD: dict[str, Any] = json.loads((FIXTURES / "argilla_record.json").read_text())
RESPONSE: dict[str, Any] = RECORD["responses"][0]


@contextmanager
def recorded_argilla() -> Iterator[tuple[str, Recorded]]:
    """The address of a server, and what it holds."""
    recorded = Recorded()
    with serving(recorded.respond) as url:
        yield url, recorded


class Recorded:
    """Datasets with their records and responses. Annotators are methods."""

    def __init__(self) -> None:
        self.workspaces = {"w-1": "team", "w-2": "other"}
        self.datasets: dict[str, dict[str, Any]] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.routes: dict[tuple[str, str], Callable[..., tuple[int, Any]]] = {
            ("GET", "/me/workspaces"): self.list_workspaces,
            ("GET", "/me/datasets"): self.list_datasets,
            ("POST", "/datasets"): self.make_dataset,
            ("POST", r"/datasets/([\w-]+)/(fields|questions)"): self.add,
            ("GET", r"/datasets/([\w-]+)/(fields)"): self.list_parts,
            ("PUT", r"/datasets/([\w-]+)/publish"): self.publish,
            ("GET", r"/datasets/([\w-]+)/records"): self.list_records,
            ("PUT", r"/datasets/([\w-]+)/records/bulk"): self.upsert,
            ("GET", r"/records/([\w-]+)"): self.one_record,
        }

    def respond(self, request: Request) -> tuple[int, Any]:
        if request.headers.get("x-argilla-api-key") != API_KEY:
            return 401, {"detail": {"code": "argilla.api.errors::UnauthorizedError"}}
        for (method, pattern), answer in self.routes.items():
            if request.method == method and (match := re.fullmatch(f"/api/v1{pattern}", request.path)):
                return answer(request, *match.groups())
        raise AssertionError(f"the recorded Argilla has no {request.method} {request.path}")

    def list_workspaces(self, _request: Request) -> tuple[int, Any]:
        return 200, {"items": [{"id": key, "name": name} for key, name in self.workspaces.items()]}

    def list_datasets(self, request: Request) -> tuple[int, Any]:
        return 200, {"items": [made for made in self.datasets.values() if made["name"] == request.query["name"]]}

    def make_dataset(self, request: Request) -> tuple[int, Any]:
        made = {"id": f"d-{len(self.datasets)}", "status": "draft", "fields": [], "questions": [], **request.body}
        self.datasets[made["id"]] = made
        return 201, made

    def add(self, request: Request, dataset: str, kind: str) -> tuple[int, Any]:
        self.datasets[dataset][kind].append(request.body)
        return 201, request.body

    def list_parts(self, _request: Request, dataset: str, kind: str) -> tuple[int, Any]:
        return 200, {"items": self.datasets[dataset][kind]}

    def publish(self, _request: Request, dataset: str) -> tuple[int, Any]:
        self.datasets[dataset]["status"] = "ready"
        return 200, self.datasets[dataset]

    def list_records(self, request: Request, dataset: str) -> tuple[int, Any]:
        found = [record for record in self.records.values() if record["dataset"] == dataset]
        start = int(request.query["offset"])
        page = found[start : start + int(request.query["limit"])]
        if request.query.get("include") != "responses":
            page = [{name: value for name, value in record.items() if name != "responses"} for record in page]
        return 200, {"items": page, "total": len(found)}

    def upsert(self, request: Request, dataset: str) -> tuple[int, Any]:
        made = self.datasets[dataset]
        names, required = ({f["name"] for f in made["fields"] if f["required"] or all_} for all_ in (True, False))
        for item in request.body["items"]:
            if made["status"] != "ready" or not required <= item["fields"].keys() <= names:
                return 422, {"detail": "Record at position 0 is not valid"}
            known = self.record(item["external_id"])
            new = {**RECORD, "id": str(uuid.uuid4()), "responses": [], "dataset": dataset, "status": "pending"}
            record = {**(known or new), **item}
            self.records[record["id"]] = record
        return 200, {"items": request.body["items"], "updated_item_ids": []}

    def one_record(self, _request: Request, record: str) -> tuple[int, Any]:
        return 200, self.records[record]

    def record(self, external_id: str) -> dict[str, Any] | None:
        return next((one for one in self.records.values() if one["external_id"] == external_id), None)

    def answer(self, external_id: str, value: str, user: str = "u-1", status: str = "submitted") -> dict[str, Any]:
        """A person answers, or changes the answer."""
        record = self.record(external_id)
        assert record is not None
        known = next((one for one in record["responses"] if one["user_id"] == user), None)
        made = known or {**RESPONSE, "id": str(uuid.uuid4()), "user_id": user, "inserted_at": now()}
        made |= {"values": {"correct": {"value": value}}, "status": status, "updated_at": now()}
        if known is None:
            record["responses"].append(made)
        return made

    def delete(self, external_id: str) -> None:
        record = self.record(external_id)
        assert record is not None
        record["responses"].clear()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
