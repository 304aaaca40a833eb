"""The round trip with Label Studio: the same tests before what was recorded of it, and before the real one."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from driftgauge.agent.annotation.hooks import Hook, bearer_secret
from driftgauge.agent.annotation.receiver import serve
from driftgauge.config.load import load_settings
from driftgauge.connectors.annotation import label_studio as tool
from driftgauge.connectors.labels.presets import PRESETS
from driftgauge.models.events import Label, Tick
from tests.annotation.agents import HOUR_S, PERIOD_END, Agent, decoded, label_list, responses
from tests.annotation.conftest import Server
from tests.annotation.http_server import Request, serving
from tests.annotation.label_studio import HOOKS, TASK, TOKEN
from tests.copying import replace
from tests.deadline import until
from tests.service.test_cli import driftgauge

SECRET = "planted"


class Annotators:
    """People at the tool, who use the same API as its page."""

    def __init__(self, server: Server) -> None:
        self.api = server.api
        [self.project] = [each["id"] for each in self.api.call("GET", "/api/projects", title=server.title)["results"]]

    def tasks(self) -> list[dict[str, Any]]:
        every = {"filters": {"conjunction": "and", "items": []}, "ordering": ["tasks:id"]}
        query = {"project": self.project, "page_size": 1_000, "query": json.dumps(every), "fields": "all"}
        found: list[dict[str, Any]] = self.api.call("GET", "/api/tasks", **query)["tasks"]
        return found

    def probabilities(self) -> list[float]:
        return [task["data"]["inclusion_probability"] for task in self.tasks()]

    def annotate(self, response_id: str, choice: str = "", person: int = 1) -> int:
        """The number of the new annotation; without a choice the task is skipped."""
        [task] = [each["id"] for each in self.tasks() if each["data"]["response_id"] == response_id]
        body = {"result": result(choice) if choice else [], "was_cancelled": not choice, "completed_by": person}
        return int(self.api.call("POST", f"/api/tasks/{task}/annotations/", body)["id"])

    def another(self) -> int:
        """The number of another person."""
        name = f"{uuid.uuid4().hex}@example.com"
        person = {"email": name, "username": name, "password": "planted-password"}
        return int(self.api.call("POST", "/api/users/", person)["id"])

    def correct(self, annotation: int, choice: str) -> None:
        self.api.call("PATCH", f"/api/annotations/{annotation}/", {"result": result(choice)})

    def delete(self, annotation: int) -> None:
        self.api.call("DELETE", f"/api/annotations/{annotation}/")

    def send_webhooks_to(self, port: int) -> None:
        self.send_webhooks_to_address(f"http://127.0.0.1:{port}/label-studio")

    def send_webhooks_to_address(self, address: str) -> None:
        headers = {"Authorization": f"Bearer {SECRET}"}
        asked = {"url": address, "project": self.project, "send_payload": True, "send_for_all_actions": True}
        self.api.call("POST", "/api/webhooks/", {**asked, "headers": headers})


def result(choice: str) -> list[dict[str, Any]]:
    return [{"from_name": "correct", "to_name": "response", "type": "choices", "value": {"choices": [choice]}}]


class Commands:
    """Commands with the settings of one server and store."""

    def __init__(self, server: Server, agent: Agent, folder: Path) -> None:
        self.folder = folder
        at = {"url": server.url, "project": server.title, "token_from": "LABEL_STUDIO_TOKEN"}
        settings = [f"annotation.label_studio.{name}={value}" for name, value in at.items()]
        self.more = [*(part for text in settings for part in ("--set", text)), "--store", agent.url]

    def acquire(self, *arguments: object) -> int:
        return driftgauge("acquire", "--to", "label-studio", *self.more, *arguments)

    def sync(self, *arguments: object) -> list[Label]:
        """The labels that a synchronisation publishes."""
        out = self.folder / "synced.jsonl"
        assert driftgauge("labels", "sync", "--from", "label-studio", "--to", out, *self.more, *arguments) == 0
        lines = out.read_bytes().splitlines()
        return [one for one in decoded(lines) if isinstance(one, Label)]


@contextmanager
def receiver(port: int, taken: list[Label]) -> Iterator[int]:
    """A receiver of webhooks that puts labels into a list; its port."""
    stopping, ports = threading.Event(), list[int]()

    def put(labels: Sequence[Label]) -> bool:
        taken.extend(labels)
        return True

    hook = Hook("label-studio", bearer_secret(SECRET), PRESETS["label-studio"], put)
    thread = threading.Thread(target=lambda: asyncio.run(serve([hook], "127.0.0.1", port, stopping, ports.append)))
    thread.start()
    try:
        until(lambda: ports)
        yield ports[0]
    finally:
        stopping.set()
        thread.join()


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An agent with two lists of ten responses."""
    made = Agent(f"sqlite:///{tmp_path / 'agent.db'}")
    made.take([*responses("law", 100), *responses("tax", 100)])
    made.emit([label_list("law", 10, rank=2), label_list("tax", 10)])
    return made


@pytest.fixture
def commands(label_studio: Server, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", TOKEN)
    return Commands(label_studio, agent, tmp_path)


def test_lists_become_tasks_once_in_the_order_of_their_ranks(
    label_studio: Server, commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.jsonl"
    rows = [
        {"response_id": "tax-0", "prompt": "2+2?", "response": "5"},
        {"response_id": "trace-law-0", "response": "6"},
    ]
    texts.write_text("\n".join(map(json.dumps, rows)))
    assert commands.acquire("--create", "--text", texts) == 0
    assert commands.acquire("--text", texts) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "18 of 20 responses have neither text nor link: pass --text"
    assert lines[1::2] == ["20 new, 0 with another probability, 0 known", "0 new, 0 with another probability, 20 known"]
    tasks = Annotators(label_studio).tasks()
    assert [task["data"]["response_id"] for task in tasks[:3]] == ["tax-0", "law-0", "tax-1"]
    assert len(tasks) == 20
    shown = {name: tasks[0]["data"][name] for name in ("prompt", "response", "inclusion_probability", "rank", "model")}
    assert shown == {"prompt": "2+2?", "response": "5", "inclusion_probability": 0.1, "rank": 1, "model": "m"}
    assert tasks[1]["data"]["response"] == "6"


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ('https://a.example/?a="1"&b', '<a href="https://a.example/?a=&quot;1&quot;&amp;b" target="_blank"'),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("<script>", "&lt;script&gt;"),
        (None, ""),
    ],
)
def test_a_link_of_the_web_can_be_clicked_and_nothing_else(
    label_studio: Server, commands: Commands, agent: Agent, link: str | None, shown: str
) -> None:
    law = label_list("law", 1, period_end=PERIOD_END + HOUR_S)
    agent.emit([replace(law, requests=(replace(law.requests[0], link=link),))])
    assert commands.acquire("--create") == 0
    [task] = Annotators(label_studio).tasks()
    assert task["data"]["link"] == (link or "")
    assert task["data"]["link_html"].startswith(shown)
    assert ("<" in task["data"]["link_html"]) == ("<a" in shown)


def test_annotators_do_not_see_what_is_predicted(label_studio: Server, commands: Commands) -> None:
    assert commands.acquire("--create", "--budget", 1) == 0
    [task] = Annotators(label_studio).tasks()
    assert task["predictions"] == []
    assert not any("p_correct" in name or value == 0.25 for name, value in task["data"].items())


def test_predictions_are_shown_when_the_settings_ask_for_them(label_studio: Server, commands: Commands) -> None:
    setting = ("--set", "annotation.label_studio.with_predictions=true")
    assert commands.acquire("--create", "--budget", 1, *setting) == 0
    [task] = Annotators(label_studio).tasks()
    [prediction] = task["predictions"]
    assert prediction["score"] == pytest.approx(0.75)
    assert prediction["result"][0]["value"] == {"choices": ["wrong"]}


def test_a_larger_budget_adds_tasks_and_corrects_the_probability_of_those_that_exist(
    label_studio: Server, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.acquire("--create", "--budget", 4) == 0
    annotators = Annotators(label_studio)
    assert annotators.probabilities() == pytest.approx([0.02] * 4)
    assert commands.acquire("--budget", 10) == 0
    assert commands.acquire("--budget", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "6 new, 4 with another probability, 0 known"
    assert lines[5] == "0 new, 0 with another probability, 10 known"
    assert annotators.probabilities() == pytest.approx([0.05] * 10)


def test_labels_come_back_although_the_receiver_was_down(
    label_studio: Server, commands: Commands, agent: Agent
) -> None:
    """Annotated, corrected, skipped and deleted, with webhooks and without: the truths are right at the end."""
    assert commands.acquire("--create", "--budget", 12) == 0
    annotators = Annotators(label_studio)
    taken: list[Label] = []
    with receiver(0, taken) as port:
        annotators.send_webhooks_to(port)
        changed, deleted, skipped = (annotators.annotate(f"law-{i}", "wrong") for i in range(3))
        annotators.annotate("law-3", "correct")
        until(lambda: len(taken) == 4)
    agent.take(taken)
    assert {name: truth for name, (truth, _) in agent.truths().items()} == {
        **dict.fromkeys(("law-0", "law-1", "law-2"), 0.0),
        "law-3": 1.0,
    }

    annotators.correct(changed, "correct")  # from here on nobody hears the webhooks
    annotators.delete(deleted)
    annotators.api.call("PATCH", f"/api/annotations/{skipped}/", {"was_cancelled": True, "result": []})
    annotators.annotate("law-4", "correct")
    annotators.annotate("law-4", "wrong", person=annotators.another())
    annotators.annotate("law-1", "correct")
    synced = commands.sync()
    assert len(synced) == 6
    assert {(one.response_id, one.correct) for one in synced} == {
        ("law-0", 1.0),
        ("law-1", None),
        ("law-1", 1.0),
        ("law-2", None),
        ("law-4", 1.0),
        ("law-4", 0.0),
    }
    agent.take(synced)
    truths = agent.truths()
    right = dict.fromkeys(("law-0", "law-1", "law-3"), 1.0)
    assert {name: truth for name, (truth, _) in truths.items()} == {**right, "law-4": 0.0}, "the latest counts"
    assert [weight for _, weight in truths.values()] == pytest.approx([1 / 0.06] * 4)
    assert len({one.annotator_id for one in synced if one.response_id == "law-4"}) == 2
    assert commands.sync() == []
    agent.take([Tick(PERIOD_END + HOUR_S)])
    with closing(agent.queries()) as queries:
        estimates = {found.domain: found for found in queries.latest_estimates()}
    assert (estimates["law"].n_labels, estimates["law"].accuracy_labelled) == (4, 0.75)


def test_a_list_that_the_agent_drew_comes_back_with_its_probability(
    label_studio: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", TOKEN)
    drawing = load_settings(overrides={"acquisition.period_s": HOUR_S, "acquisition.labels_per_period": 20})
    agent = Agent(f"sqlite:///{tmp_path / 'drawing.db'}", drawing)
    agent.take([*responses("law", 100), Tick(PERIOD_END + HOUR_S)])
    commands = Commands(label_studio, agent, tmp_path)
    assert commands.acquire("--create", "--budget", 10) == 0
    annotators = Annotators(label_studio)
    drawn = [task["data"]["response_id"] for task in annotators.tasks()]
    assert len(drawn) == 10
    for response_id in drawn[:3]:
        annotators.annotate(response_id, "correct")
    agent.take(commands.sync())
    truths = agent.truths()
    assert {name: truth for name, (truth, _) in truths.items()} == dict.fromkeys(drawn[:3], 1.0)
    assert [weight for _, weight in truths.values()] == pytest.approx([100 / 10] * 3)


def test_without_a_store_every_label_is_sent_again_and_none_withdrawn(
    label_studio: Server, commands: Commands, agent: Agent
) -> None:
    assert commands.acquire("--create", "--budget", 2) == 0
    annotators = Annotators(label_studio)
    annotators.annotate("law-0", "correct")
    agent.take(commands.sync("--without-store"))
    annotators.delete(annotators.annotate("tax-0", "correct"))
    assert [one.response_id for one in commands.sync("--without-store")] == ["law-0"]
    assert commands.sync() == []


def test_the_labels_of_a_deleted_task_stay(label_studio: Server, commands: Commands, agent: Agent) -> None:
    assert commands.acquire("--create", "--budget", 2) == 0
    annotators = Annotators(label_studio)
    annotators.annotate("law-0", "correct")
    agent.take(commands.sync())
    [task] = [each["id"] for each in annotators.tasks() if each["data"]["response_id"] == "law-0"]
    annotators.api.call("DELETE", f"/api/tasks/{task}/")
    assert commands.sync() == []
    assert agent.truths().keys() == {"law-0"}


def test_a_label_of_another_project_is_not_withdrawn(
    label_studio: Server, commands: Commands, agent: Agent, tmp_path: Path
) -> None:
    other = Server(label_studio.url, f"{label_studio.title} other")
    for made in (commands, elsewhere := Commands(other, agent, tmp_path)):
        assert made.acquire("--create", "--budget", 2) == 0
    Annotators(other).annotate("law-0", "correct")
    agent.take(elsewhere.sync())
    assert commands.sync() == []
    assert agent.truths().keys() == {"law-0"}


def test_more_tasks_than_a_page_holds_are_all_found(
    label_studio: Server, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAGE", "LOOKED_UP", "IMPORTED"):
        monkeypatch.setattr(tool, name, 3)
    for _ in range(2):
        assert commands.acquire("--create") == 0
    annotators = Annotators(label_studio)
    assert len(annotators.tasks()) == 20
    for number in range(4):
        annotators.annotate(f"law-{number}", "correct")
    assert len(commands.sync()) == 4


def test_a_title_that_no_project_or_two_have_is_an_error(
    label_studio: Server, commands: Commands, capfd: pytest.CaptureFixture[str]
) -> None:
    assert commands.acquire() == 1
    assert "no project has the title" in capfd.readouterr().err
    for _ in range(2):
        label_studio.api.call("POST", "/api/projects", {"title": label_studio.title, "label_config": tool.LABEL_CONFIG})
    assert commands.acquire("--create") == 1
    assert "several projects have the title" in capfd.readouterr().err


def test_odd_response_ids_are_found_again(label_studio: Server, agent: Agent, commands: Commands) -> None:
    odd = ["a b", "it's", 'say "x"', "ü/é?&=", "a,b", "back\\slash", "[1]", "%20", "100%"]
    made = label_list("law", len(odd))
    requests = [replace(one, response_id=name) for one, name in zip(made.requests, odd, strict=True)]
    agent.emit([replace(made, requests=tuple(requests))])
    assert commands.acquire("--create") == 0
    n_tasks = len(Annotators(label_studio).tasks())
    assert commands.acquire() == 0
    assert len(Annotators(label_studio).tasks()) == n_tasks


def test_a_personal_access_token_is_exchanged_for_short_ones(
    label_studio: Server, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", label_studio.api.call("POST", "/api/token/")["token"])
    assert commands.acquire("--create", "--budget", 1) == 0
    assert len(Annotators(label_studio).tasks()) == 1


def test_what_was_recorded_has_the_fields_of_what_the_server_sends(label_studio: Server, commands: Commands) -> None:
    assert commands.acquire("--create", "--budget", 2) == 0
    annotators, hooks = Annotators(label_studio), list[Any]()

    def hear(request: Request) -> tuple[int, object]:
        hooks.append(request.body)
        return 200, None

    with serving(hear) as url:
        annotators.send_webhooks_to_address(url)
        annotation = annotators.annotate("law-0", "wrong")
        annotators.correct(annotation, "correct")
        [task] = [each for each in annotators.tasks() if each["annotations"]]
        annotators.delete(annotation)
        annotators.api.call("DELETE", f"/api/tasks/{task['id']}/")
        until(lambda: len(hooks) == 4)
    assert missing(TASK, task) == []
    for hook in hooks:
        recorded = next(one for one in HOOKS if one["action"] == hook["action"])
        assert missing(recorded, hook) == []


def missing(recorded: Any, sent: Any, place: str = "") -> list[str]:
    """Fields that were recorded and are not sent any more."""
    if isinstance(recorded, list) and isinstance(sent, list):
        return missing(recorded[0], sent[0], f"{place}.0") if recorded and sent else []
    if not (isinstance(recorded, dict) and isinstance(sent, dict)):
        return []
    gone = [f"{place}.{name}" for name in recorded if name not in sent]
    both = [name for name in recorded if name in sent]
    return gone + [one for name in both for one in missing(recorded[name], sent[name], f"{place}.{name}")]
