"""Argilla by REST: records are upserted under the response id, and records with their responses are read back.

Paths and fields are those of Argilla 2.8. Its records do not say when a response to them changed, so all are read each
time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from driftgauge.connectors.annotation.json_api import JsonApi
from driftgauge.connectors.annotation.tasks import Answered, Delivery, Task
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.batches import batched
from driftgauge.connectors.decoding.formats.payload import field_of

UPSERTED = 200
"""Records of one request; the server takes 500."""

PAGE = 200
"""Records of one page with their responses."""

FIELDS = ("prompt", "response", "link")
"""Texts that go to the fields of a record, where the dataset has a field of this name; all else is metadata."""


class Argilla:
    """One dataset of an Argilla.

    Parameters
    ----------
    dataset : its id
    """

    preset = "argilla"

    def __init__(self, api: JsonApi, dataset: str) -> None:
        self._api, self._path = api, f"/api/v1/datasets/{dataset}"

    def delivered(self, response_ids: Sequence[str]) -> set[str]:
        """Those of the responses that have a record already."""
        return self._probabilities().keys() & set(response_ids)

    def deliver(self, tasks: Sequence[Task]) -> Delivery:
        """Make a record of each response that has none, and correct the inclusion probability of the others."""
        known, delivery = self._probabilities(), Delivery()
        fields = [field["name"] for field in self._listed(f"{self._path}/fields") if field["name"] in FIELDS]
        wanted = list[dict[str, Any]]()
        for task in tasks:
            response_id, probability = task.request.response_id, task.request.inclusion_probability
            if known.get(response_id, -1.0) == probability:
                delivery.known += 1
                continue
            delivery.updated += response_id in known
            delivery.created += response_id not in known
            wanted.append(_record(task, fields))
        for part in batched(wanted, UPSERTED):
            self._api.call("PUT", f"{self._path}/records/bulk", {"items": part})
        return delivery

    def answered(self, since: float | None = None) -> Iterator[Answered]:  # noqa: ARG002 - it cannot tell changes
        """All records with their responses, which may be none."""
        for record in self._records(include="responses"):
            keys = tuple(str(field_of(response, "id")) for response in record.get("responses") or ())
            yield Answered(str(record.get("external_id") or ""), record, keys)

    def has_annotation(self, task: Answered, key: str) -> bool:
        """Ask the server whether the record still has a response, by the id of the response."""
        record = self._api.call("GET", f"/api/v1/records/{quote(str(task.document.get('id')), safe='')}")
        return any(field_of(response, "id") == key for response in field_of(record, "responses") or [])

    def _probabilities(self) -> dict[str, object]:
        """The inclusion probability of each record, by response id."""
        return {
            response_id: field_of(record, "metadata", "inclusion_probability")
            for record in self._records()
            if isinstance(response_id := record.get("external_id"), str)
        }

    def _records(self, **query: object) -> Iterator[dict[str, Any]]:
        offset = 0
        while page := self._listed(f"{self._path}/records", offset=offset, limit=PAGE, **query):
            yield from page
            offset += len(page)

    def _listed(self, path: str, **query: object) -> list[dict[str, Any]]:
        return listed(self._api, path, **query)


def dataset_id(api: JsonApi, dataset: str, workspace: str = "", *, create: bool = False) -> str:
    """The id of the dataset with this name.

    Parameters
    ----------
    workspace : name of its workspace; empty: any
    create : make and publish the dataset where there is none; the workspace must exist

    Raises
    ------
    ConnectorError
        When there is none, or several have the name.
    """
    workspaces = {each["id"]: each["name"] for each in listed(api, "/api/v1/me/workspaces")}
    named = [found for found, name in workspaces.items() if workspace in ("", name)]
    found = [
        str(each["id"])
        for each in listed(api, "/api/v1/me/datasets", name=dataset)
        if each["name"] == dataset and each["workspace_id"] in named
    ]
    if not found and create and len(named) == 1:
        return _created(api, dataset, named[0])
    if len(found) != 1:
        text = "several datasets have" if found else "no dataset has"
        hint = "name the workspace" if found or len(named) != 1 else "--create makes one"
        raise ConnectorError(f"{api.url}: {text} the name {dataset}; {hint}", retriable=False)
    return found[0]


def listed(api: JsonApi, path: str, **query: object) -> list[dict[str, Any]]:
    """The objects of a list that the server answers with."""
    items = field_of(api.call("GET", path, **query), "items")
    if not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
        raise ConnectorError(f"{api.url}{path} answers with no list", retriable=False)
    return items


def _created(api: JsonApi, name: str, workspace: str) -> str:
    made = str(api.call("POST", "/api/v1/datasets", {"name": name, "workspace_id": workspace})["id"])
    path = f"/api/v1/datasets/{made}"
    for field in FIELDS:
        text = {"name": field, "title": field.capitalize(), "settings": {"type": "text"}}
        api.call("POST", f"{path}/fields", {**text, "required": field == "response"})
    options = [{"value": value, "text": value} for value in ("correct", "wrong")]
    question = {"name": "correct", "title": "Is the response correct?", "required": True}
    api.call("POST", f"{path}/questions", {**question, "settings": {"type": "label_selection", "options": options}})
    api.call("PUT", f"{path}/publish")
    return made


def _record(task: Task, fields: Sequence[str]) -> dict[str, Any]:
    data = task.data()
    metadata = {name: data[name] for name in data.keys() - {"response_id", "prompt", "response"}}
    shown = {name: data[name] for name in fields if data[name] or name == "response"}
    return {"external_id": task.request.response_id, "fields": shown, "metadata": metadata}
