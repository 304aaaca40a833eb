"""A Label Studio for tests: the real one where DRIFTGAUGE_LABEL_STUDIO names its program, else what was recorded of it.

The recorded one answers the requests that driftgauge and the tests send with the records in `fixtures`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.annotation.http_server import Request, serving
from tests.deadline import until

FIXTURES = Path(__file__).parent / "fixtures"
TOKEN = "ab" * 20
REFRESH, ACCESS = "a.refresh.token", "an.access.token"
TASK: dict[str, Any] = json.loads((FIXTURES / "label_studio_task.json").read_text())
ANNOTATION: dict[str, Any] = TASK["annotations"][0]
HOOKS = [json.loads(line) for line in (FIXTURES / "label_studio_hooks.jsonl").read_text().splitlines()]
FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
READY_S = 600.0


@contextmanager
def real_label_studio(program: str, folder: Path) -> Iterator[str]:
    """The address of a server of its own, which migrates a new database first."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_USERNAME": "ann@example.com",
        "LABEL_STUDIO_PASSWORD": "planted-password",
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SSRF_PROTECTION_ENABLED": "false",  # it refuses webhooks to loopback otherwise
        "USE_DEFAULT_BANNED_SUBNETS": "false",
    }
    command = [program, "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: process.poll() is not None or _is_ready(url), READY_S, 0.5)
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310 - the address is ours
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def recorded_label_studio() -> Iterator[str]:
    """The address of a server that holds its tasks in memory."""
    with serving(Recorded().respond) as url:
        yield url


class Recorded:
    """Projects, tasks, annotations and webhooks, with the fields that the real server gives them."""

    def __init__(self) -> None:
        self.projects: dict[int, str] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.webhooks: list[dict[str, Any]] = []
        self.last_annotation = 0
        self.routes: dict[tuple[str, str], Callable[..., tuple[int, Any]]] = {
            ("GET", "/api/projects"): self.list_projects,
            ("POST", "/api/projects"): self.make_project,
            ("POST", r"/api/projects/(\d+)/import"): self.import_tasks,
            ("GET", "/api/tasks"): self.list_tasks,
            ("PATCH", r"/api/tasks/(\d+)"): self.change_task,
            ("DELETE", r"/api/tasks/(\d+)/"): self.delete_task,
            ("POST", r"/api/tasks/(\d+)/annotations/"): self.annotate,
            ("GET", r"/api/annotations/(\d+)/"): self.one_annotation,
            ("PATCH", r"/api/annotations/(\d+)/"): self.change_annotation,
            ("DELETE", r"/api/annotations/(\d+)/"): self.delete_annotation,
            ("POST", "/api/users/"): lambda request: (201, {"id": 2, **request.body}),
            ("POST", "/api/webhooks/"): self.make_webhook,
            ("POST", "/api/token/"): lambda _request: (201, {"token": REFRESH}),
            ("POST", "/api/token/refresh"): lambda _request: (200, {"access": ACCESS}),
        }

    def respond(self, request: Request) -> tuple[int, Any]:
        allowed = (f"Token {TOKEN}", f"Bearer {ACCESS}")
        is_renewal = request.path == "/api/token/refresh" and request.body == {"refresh": REFRESH}
        if request.headers.get("authorization") not in allowed and not is_renewal:
            return 401, {"status_code": 401, "detail": "Invalid token."}
        for (method, pattern), answer in self.routes.items():
            if request.method == method and (match := re.fullmatch(pattern, request.path)):
                try:
                    return answer(request, *map(int, match.groups()))
                except KeyError:
                    return 404, {"status_code": 404, "detail": "No such object."}
        raise AssertionError(f"the recorded Label Studio has no {request.method} {request.path}")

    def list_projects(self, request: Request) -> tuple[int, Any]:
        found = [{"id": n, "title": title} for n, title in self.projects.items() if request.query["title"] in title]
        return 200, {"count": len(found), "next": None, "previous": None, "results": found}

    def make_project(self, request: Request) -> tuple[int, Any]:
        number = len(self.projects) + 1
        self.projects[number] = request.body["title"]
        return 201, {"id": number, **request.body}

    def import_tasks(self, request: Request, project: int) -> tuple[int, Any]:
        for made in request.body:
            number = len(self.tasks) + 1
            task = {**TASK, "id": number, "project": project, "annotations": [], "data": made["data"]}
            self.tasks[number] = {**task, "predictions": made.get("predictions", []), "updated_at": now()}
        return 201, {"task_count": len(request.body), "annotation_count": 0}

    def list_tasks(self, request: Request) -> tuple[int, Any]:
        items = json.loads(unquote(request.query["query"]))["filters"]["items"]
        in_project = [task for task in self.tasks.values() if str(task["project"]) == request.query["project"]]
        found = [task for task in in_project if all(matches(task, item) for item in items)]
        page = sorted(found, key=lambda task: task["id"])[: int(request.query["page_size"])]
        if request.query.get("fields") != "all":
            page = [{name: value for name, value in task.items() if name != "annotations"} for task in page]
        return 200, {"total_annotations": 0, "total_predictions": 0, "total": len(found), "tasks": page}

    def change_task(self, request: Request, number: int) -> tuple[int, Any]:
        self.tasks[number].update(data=request.body["data"], updated_at=now())
        return 200, self.tasks[number]

    def delete_task(self, _request: Request, number: int) -> tuple[int, Any]:
        del self.tasks[number]
        self.send("TASKS_DELETED", tasks=[{"id": number}])
        return 204, None

    def annotate(self, request: Request, number: int) -> tuple[int, Any]:
        self.last_annotation += 1
        made = {**ANNOTATION, "id": self.last_annotation, "task": number, "completed_by": 1, "was_cancelled": False}
        made |= {**request.body, "created_at": now(), "updated_at": now()}
        self.tasks[number]["annotations"].append(made)
        self.touch(number, "ANNOTATION_CREATED", made)
        return 201, made

    def one_annotation(self, _request: Request, number: int) -> tuple[int, Any]:
        return 200, self.annotation(number)

    def change_annotation(self, request: Request, number: int) -> tuple[int, Any]:
        changed = self.annotation(number)
        changed.update(request.body, updated_at=now())
        self.touch(changed["task"], "ANNOTATION_UPDATED", changed)
        return 200, changed

    def delete_annotation(self, _request: Request, number: int) -> tuple[int, Any]:
        deleted = self.annotation(number)
        task = self.tasks[deleted["task"]]
        task["annotations"].remove(deleted)
        task["updated_at"] = now()
        self.send("ANNOTATIONS_DELETED", annotations=[{"id": number}])
        return 204, None

    def make_webhook(self, request: Request) -> tuple[int, Any]:
        self.webhooks.append(request.body)
        return 201, request.body

    def annotation(self, number: int) -> dict[str, Any]:
        every = (annotation for task in self.tasks.values() for annotation in task["annotations"])
        found: dict[int, dict[str, Any]] = {annotation["id"]: annotation for annotation in every}
        return found[number]

    def touch(self, number: int, action: str, annotation: dict[str, Any]) -> None:
        task = self.tasks[number]
        task["updated_at"] = now()
        self.send(action, annotation=annotation, task={**task, "annotations": []})

    def send(self, action: str, **content: Any) -> None:
        """Send a webhook as the real server does: one attempt, one second, and no error reaches anybody."""
        recorded = next(hook for hook in HOOKS if hook["action"] == action)
        if "annotation" in content:
            content = {name: {**recorded[name], **content[name]} for name in content}
        for webhook in self.webhooks:
            headers = {"Content-Type": "application/json", **webhook.get("headers", {})}
            body = json.dumps({**recorded, **content}).encode()
            with suppress(OSError):
                urllib.request.urlopen(urllib.request.Request(webhook["url"], body, headers), timeout=1).close()  # noqa: S310


def matches(task: dict[str, Any], item: dict[str, Any]) -> bool:
    """The filters that driftgauge uses."""
    column, operator, wanted = item["filter"].removeprefix("filter:tasks:"), item["operator"], item["value"]
    value = task["data"].get(column.removeprefix("data."))
    if operator == "in_list":
        return value in wanted
    if operator == "greater":
        return bool(task[column] > wanted)
    assert operator == "greater_or_equal"
    return bool(datetime.strptime(task[column], FORM) >= datetime.strptime(wanted, FORM))


def now() -> str:
    return datetime.now(UTC).strftime(FORM)
