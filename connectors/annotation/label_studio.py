"""Label Studio by REST: tasks are made once for each response, and tasks with their annotations are read back.

An import never recognises a task that exists, so existing tasks are looked up first, by ``data.response_id``. Two
deliveries at the same moment can therefore make doubles. Paths and fields are those of Label Studio 1.23.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote

import msgspec

from driftgauge.connectors.annotation.json_api import ApiKey, Credentials, JsonApi
from driftgauge.connectors.annotation.tasks import Answered, Delivery, Task
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.batches import batched
from driftgauge.connectors.decoding.formats.payload import field_of, moment_of
from driftgauge.connectors.labels.web import StatusError

LOOKED_UP = 50
"""Response ids of one look-up: they stand in the address."""

IMPORTED = 200
"""Tasks of one import."""

PAGE = 200
"""Tasks of one page with their annotations."""

OVERLAP_S = 60.0
"""Seconds before ``since`` that are read again: a change may be committed after its time."""

NOT_FOUND = 404

LABEL_CONFIG = """<View>
  <Header value="Prompt"/>
  <Text name="prompt" value="$prompt"/>
  <Header value="Response"/>
  <Text name="response" value="$response"/>
  <HyperText name="link" value="$link_html" clickableLinks="true" inline="true"/>
  <Header value="Is the response correct?"/>
  <Choices name="correct" toName="response" choice="single-radio" required="true">
    <Choice value="correct"/>
    <Choice value="wrong"/>
  </Choices>
</View>"""


def credentials(url: str, token: str) -> Credentials:
    """What the server wants to see: a personal access token is exchanged for short ones, an older token is sent."""
    return AccessToken(url, token) if token.count(".") == 2 else ApiKey("Authorization", f"Token {token}")


class AccessToken:
    """A personal access token, which a server exchanges for tokens that last some minutes."""

    def __init__(self, url: str, token: str) -> None:
        self._api = JsonApi(url)
        self._token = token
        self._access = ""

    def headers(self) -> Mapping[str, str]:
        """The header with a short token."""
        if not self._access:
            self.renew()
        return {"Authorization": f"Bearer {self._access}"}

    def renew(self) -> bool:
        """Ask for another short token."""
        access = field_of(self._api.call("POST", "/api/token/refresh", {"refresh": self._token}), "access")
        if not isinstance(access, str):
            raise ConnectorError(f"{self._api.url} gives no access token", retriable=False)
        self._access = access
        return True


class LabelStudio:
    """One project of a Label Studio.

    Parameters
    ----------
    project : its number
    with_predictions : whether annotators see what is predicted; their labels are then of another kind
    """

    preset = "label-studio"

    def __init__(self, api: JsonApi, project: int, *, with_predictions: bool = False) -> None:
        self._api, self._project, self._with_predictions = api, project, with_predictions

    def delivered(self, response_ids: Sequence[str]) -> set[str]:
        """Those of the responses that have a task already."""
        return self._tasks_of(response_ids).keys() & set(response_ids)

    def deliver(self, tasks: Sequence[Task]) -> Delivery:
        """Make a task of each response that has none, and correct the inclusion probability of the others."""
        known = self._tasks_of([task.request.response_id for task in tasks])
        new = [task for task in tasks if task.request.response_id not in known]
        delivery = Delivery(known=len(tasks) - len(new))
        for task in tasks:
            delivery.updated += self._corrected(task, known.get(task.request.response_id, {}))
        delivery.known -= delivery.updated
        for part in batched(new, IMPORTED):
            self._api.call("POST", f"/api/projects/{self._project}/import", [self._imported(task) for task in part])
            delivery.created += len(part)
        return delivery

    def _corrected(self, task: Task, known: Mapping[int, Mapping[str, Any]]) -> bool:
        """Whether a task of this response had another inclusion probability, which it has no more."""
        correct = {"inclusion_probability": task.request.inclusion_probability}
        wrong = {number: data for number, data in known.items() if correct.items() - data.items()}
        for number, data in wrong.items():
            self._api.call("PATCH", f"/api/tasks/{number}", {"data": {**data, **correct}})
        return bool(wrong)

    def answered(self, since: float | None = None) -> Iterator[Answered]:
        """Tasks with their annotations, which may be none; with ``since`` those that changed from then on.

        A deleted annotation changes its task too. A deleted task is never among them.
        """
        changed = [] if since is None else [_changed(since - OVERLAP_S)]
        for task in self._pages(changed, fields="all"):
            keys = tuple(str(field_of(annotation, "id")) for annotation in task.get("annotations") or ())
            yield Answered(str(task["data"].get("response_id") or ""), task, keys, moment_of(task.get("updated_at")))

    def has_annotation(self, task: Answered, key: str) -> bool:  # noqa: ARG002 - the key alone names it
        """Ask the tool whether an annotation is still there, by its number."""
        try:
            self._api.call("GET", f"/api/annotations/{quote(key, safe='')}/")
        except StatusError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return True

    def _tasks_of(self, response_ids: Sequence[str]) -> dict[str, dict[int, dict[str, Any]]]:
        """The data of existing tasks, by response id and number of the task."""
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for looked_up in batched(response_ids, LOOKED_UP):
            for task in self._pages([_filter("data.response_id", "in_list", "String", looked_up)]):
                found.setdefault(task["data"].get("response_id"), {})[task["id"]] = task["data"]
        return found

    def _pages(self, filters: Sequence[dict[str, Any]], **query: object) -> Iterator[dict[str, Any]]:
        """Tasks in the order of their numbers. Each page starts after the last, so that no change shifts the pages."""
        last = 0
        while True:
            items = [*filters, _filter("id", "greater", "Number", last)]
            wanted = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            answer = self._api.call(
                "GET",
                "/api/tasks",
                project=self._project,
                page_size=PAGE,
                resolve_uri="false",
                query=msgspec.json.encode(wanted).decode().replace("%", r"\u0025"),  # it is decoded twice
                **query,
            )
            tasks = field_of(answer, "tasks")
            if not (isinstance(tasks, list) and all(map(_is_task, tasks))):
                raise ConnectorError(f"{self._api.url} answers with no list of tasks", retriable=False)
            yield from tasks
            if len(tasks) < PAGE:
                return
            last = tasks[-1]["id"]

    def _imported(self, task: Task) -> dict[str, Any]:
        made: dict[str, Any] = {"data": {**task.data(), "link_html": _link_html(task.request.link)}}
        p = task.request.p_correct
        if self._with_predictions and p is not None:
            choice, score = ("correct", p) if p >= 0.5 else ("wrong", 1 - p)
            result = {"from_name": "correct", "to_name": "response", "type": "choices", "value": {"choices": [choice]}}
            made["predictions"] = [{"model_version": "driftgauge", "score": score, "result": [result]}]
        return made


def project_number(api: JsonApi, project: str, *, create: bool = False) -> int:
    """The number of the project with this number or title.

    Parameters
    ----------
    create : make a project with this title where there is none

    Raises
    ------
    ConnectorError
        When there is none, or several have the title.
    """
    if project.isdecimal():
        return int(project)
    answer = api.call("GET", "/api/projects", title=project, include="id,title", page_size=1_000)
    results = field_of(answer, "results") or []
    found = [number for each in results if each["title"] == project and isinstance(number := each["id"], int)]
    if not found and create:
        made = api.call("POST", "/api/projects", {"title": project, "label_config": LABEL_CONFIG})
        return int(made["id"])
    if len(found) != 1:
        text = "several projects have" if found else "no project has"
        hint = "give its number" if found else "--create makes one"
        raise ConnectorError(f"{api.url}: {text} the title {project}; {hint}", retriable=False)
    return found[0]


def _link_html(link: str | None) -> str:
    """A link that can be clicked; the text of other addresses than those of the web."""
    if not (link or "").startswith(("http://", "https://")):
        return escape(link or "")
    return f'<a href="{escape(link or "")}" target="_blank" rel="noopener">open the response</a>'


def _is_task(found: object) -> bool:
    return isinstance(field_of(found, "id"), int) and isinstance(field_of(found, "data"), dict)


def _changed(since: float) -> dict[str, Any]:
    moment = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # no other form is read
    return _filter("updated_at", "greater_or_equal", "Datetime", moment)


def _filter(column: str, operator: str, kind: str, value: object) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
