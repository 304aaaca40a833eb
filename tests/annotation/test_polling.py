"""Polling: what each pass reads, what happens after a failure, and what wakes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from driftgauge.agent.annotation.polling import FULL_EVERY, Poller
from driftgauge.connectors.annotation.json_api import ApiKey, JsonApi
from driftgauge.connectors.annotation.label_studio import LabelStudio
from driftgauge.connectors.annotation.reconcile import Reconciliation
from driftgauge.connectors.annotation.tasks import Texts, tasks_of
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.labels.presets import PRESETS
from driftgauge.models.acquire.budget import within_budget
from driftgauge.models.events import Label
from tests.annotation.agents import PERIOD_END, Agent, label_list, responses
from tests.annotation.http_server import Request, serving
from tests.annotation.label_studio import FORM, TOKEN, Recorded
from tests.copying import replace
from tests.deadline import until


class Tool:
    """A recorded Label Studio with ten tasks; it can be down."""

    def __init__(self) -> None:
        self.recorded = Recorded()
        self.is_down = False
        self.passes: list[bool] = []
        """Whether each pass asked for changes only."""

    def respond(self, request: Request) -> tuple[int, object]:
        if self.is_down:
            return 503, None
        if request.query.get("fields") == "all":
            self.passes.append("updated_at" in request.query["query"])
        return self.recorded.respond(request)

    def annotate(self, task: int, choice: str) -> int:
        value = {"from_name": "correct", "to_name": "response", "type": "choices", "value": {"choices": [choice]}}
        request = Request("POST", "", {}, {}, {"result": [value]})
        return int(self.recorded.annotate(request, task)[1]["id"])

    def delete(self, annotation: int) -> None:
        self.recorded.delete_annotation(Request("DELETE", "", {}, {}, None), annotation)


@pytest.fixture
def tool() -> Tool:
    return Tool()


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    made = Agent(f"sqlite:///{tmp_path / 'agent.db'}")
    made.take(responses("law", 10))
    return made


@pytest.fixture
def published() -> list[Label]:
    return []


@pytest.fixture
def poller(tool: Tool, agent: Agent, published: list[Label]) -> Iterator[Poller]:
    def publish(labels: Sequence[Label]) -> None:
        published.extend(labels)

    with serving(tool.respond) as url, closing(agent.queries()) as queries:
        found = LabelStudio(JsonApi(url, ApiKey("Authorization", f"Token {TOKEN}")), 1)
        found.deliver(tasks_of(within_budget([label_list("law", 10)]), {"law-0": Texts("2+2?", "5")}))
        tool.passes.clear()
        reconciliation = Reconciliation(found, PRESETS["label-studio"], queries.labels_of)
        yield Poller("tool", reconciliation, publish, every_s=3_600.0, now=lambda: PERIOD_END)


def test_the_first_pass_reads_everything_and_the_next_ones_what_changed(
    tool: Tool, poller: Poller, published: list[Label], agent: Agent
) -> None:
    tool.annotate(1, "correct")
    poller.poll()
    agent.take(published)
    for _ in range(FULL_EVERY):
        poller.poll()
    assert tool.passes == [False, *[True] * (FULL_EVERY - 1), False]
    assert len(published) == 1


def test_a_pass_over_changes_finds_a_deletion(tool: Tool, poller: Poller, published: list[Label], agent: Agent) -> None:
    annotation = tool.annotate(1, "correct")
    poller.poll()
    agent.take(published)
    tool.delete(annotation)
    summary = poller.poll()
    assert (summary.labels, summary.withdrawals) == (0, 1)
    first, withdrawal = published
    assert (withdrawal.label_id, withdrawal.supersedes) == (first.label_id, first.label_id)
    assert withdrawal.event_time > first.event_time, "although the clock of the poller is an hour slow"
    agent.take(published)
    assert agent.truths() == {}
    assert poller.poll().withdrawals == 0


def test_a_change_that_was_committed_after_its_time_is_found(
    tool: Tool, poller: Poller, published: list[Label]
) -> None:
    tool.annotate(1, "correct")
    poller.poll()
    published.clear()
    tool.annotate(2, "correct")
    task = tool.recorded.tasks[2]
    before = datetime.strptime(task["updated_at"], FORM) - timedelta(seconds=30)
    task["updated_at"] = before.strftime(FORM)
    poller.poll()
    assert "law-1" in {label.response_id for label in published}


def test_after_a_failure_the_same_time_is_covered_again(tool: Tool, poller: Poller, published: list[Label]) -> None:
    poller.poll()
    tool.is_down = True
    tool.annotate(2, "wrong")
    with pytest.raises(ConnectorError, match="answers with status 503"):
        poller.poll()
    tool.is_down = False
    poller.poll()
    assert [label.response_id for label in published] == ["law-1"]


def test_labels_that_could_not_be_published_come_again(tool: Tool, poller: Poller, published: list[Label]) -> None:
    tool.annotate(2, "wrong")

    def fail(_labels: Sequence[Label]) -> None:
        raise ConnectorError("the broker is away", retriable=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poller, "_publish", fail)
        with pytest.raises(ConnectorError, match="away"):
            poller.poll()
    poller.poll()
    assert [label.response_id for label in published] == ["law-1"]


def test_a_webhook_wakes_the_thread_and_no_error_ends_it(
    tool: Tool, poller: Poller, published: list[Label], caplog: pytest.LogCaptureFixture
) -> None:
    tool.is_down = True
    with closing(poller):
        poller.start()
        until(lambda: "answers with status 503; trying again" in caplog.text)
        tool.is_down = False
        tool.annotate(3, "wrong")
        poller.wake()
        until(lambda: published)
    assert poller.passes == 1


def test_the_label_of_a_webhook_is_not_sent_again_when_its_time_is_later(
    tool: Tool, poller: Poller, published: list[Label], agent: Agent
) -> None:
    tool.annotate(1, "correct")
    poller.poll()
    [label] = published
    agent.take([replace(label, event_time=label.event_time + 0.1)])
    poller.poll()
    assert len(published) == 1
