"""The live demo: a small language model answers questions, and its accuracy is estimated while it does.

    questions, checks -> gateway -> model server       asked with the client of the package openai
         labels, late -> gateway -> Kafka -> agent -> store -> table

Programs check every answer, so that the truth is known at the end; the agent learns the result of a part of them, some
time later, as labels. Harder questions follow, with a new domain.
"""

from __future__ import annotations

import json
import random
import secrets
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from driftgauge.agent.demo import model_server
from driftgauge.agent.demo.embedded import STORE, conclude, make_room, stored_rows
from driftgauge.agent.demo.processes import POLL_S, Process, Starter, n_stored, processes, stored_account
from driftgauge.agent.demo.questions import EXAMPLES, LEVELS, Question, is_right, make_questions
from driftgauge.agent.outlets.live_table import Row, format_ratio, printable, render
from driftgauge.agent.service import build
from driftgauge.agent.service.replay import print_text
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError
from driftgauge.connectors.kafka.local_broker import free_ports
from driftgauge.connectors.kafka.topics import create_topics
from driftgauge.models.outputs import Estimate

if TYPE_CHECKING:
    from openai import OpenAI

N_EACH = 60
"""Questions of each kind and level."""

SHARE = 0.5
SHARES: Mapping[str, float] = {"past": 0.1, "capital": 0.0}
"""Share of the answers that get a label: half, but few in one domain and none in another."""

LABEL_DELAY = 60
"""Answers from an answer to its label."""

WINDOWS = {"window_s": 100.0, "window_events": N_EACH, "hop_s": 5.0, "idle_after_s": 10.0}
DRIFT = {"horizon_s": 10_000.0, "season": "none"}
"""A window holds the last `N_EACH` answers of a domain, where the model is fast enough. In less than 1,000 seconds,
one false drift warning in 10,000 is less than 0.1."""

READY_S, SETTLE_S, REFRESH_S = 120.0, 20.0, 1.0
LINE_EVERY = 100

Label: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the model, checked."""

    question: Question
    response_id: str
    event_time: float
    is_right: bool


@dataclass(slots=True)
class Answers:
    """All answers so far, which tell the truth about an estimate."""

    _answers: list[Answer] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, answer: Answer) -> None:
        """Note an answer."""
        self._answers.append(answer)

    def truth(self, estimate: Estimate, window_events: int) -> float | None:
        """The share of right answers in the window of an estimate; None when it has no answer."""
        inside = [
            a.is_right
            for a in sorted(self._answers, key=lambda a: a.event_time)
            if a.question.domain == estimate.domain and estimate.window_start <= a.event_time < estimate.window_end
        ][-window_events:]
        return sum(inside) / len(inside) if inside else None


class LateLabels:
    """Sends the checks of a part of the answers as labels, `LABEL_DELAY` answers later.

    Parameters
    ----------
    send : sends labels
    rng : draws the answers that get a label
    """

    def __init__(self, send: Callable[[list[Label]], object], rng: random.Random) -> None:
        self._sending, self._rng = send, rng
        self._waiting: deque[tuple[int, Label]] = deque()
        self._n_answers = 0
        self.n_sent = 0

    def answered(self, answer: Answer) -> None:
        """Draw whether an answer gets a label, and send those whose time has come."""
        self._n_answers += 1
        share = SHARES.get(answer.question.domain, SHARE)
        if self._rng.random() < share:
            label: Label = {
                "response_id": answer.response_id,
                "correct": answer.is_right,
                "inclusion_probability": share,
                "annotator_kind": "code",
                "annotator_id": "checker",
            }
            self._waiting.append((self._n_answers + LABEL_DELAY, label))
        while self._waiting and self._waiting[0][0] <= self._n_answers:
            self._send([self._waiting.popleft()[1]])

    def send_all(self) -> None:
        """Send the labels that wait."""
        if self._waiting:
            self._send([label for _, label in self._waiting])
            self._waiting.clear()

    def _send(self, labels: list[Label]) -> None:
        self._sending(labels)
        self.n_sent += len(labels)


def run_live(folder: Path, console: Console, *, seed: int = 0) -> None:
    """Start the model and all processes, ask, send labels, and print the table with the truth beside it.

    Parameters
    ----------
    seed : of the questions and of the choice of labels; the answers of the model are random in any case

    Raises
    ------
    ConnectorError
        When a package is missing, or a process fails.
    """
    try:
        from openai import OpenAI
    except ModuleNotFoundError:
        raise ConnectorError(
            "the live demo needs more packages; make demo-live installs them", retriable=False
        ) from None
    make_room(folder)
    rng, answers = random.Random(seed), Answers()  # noqa: S311 - no secrets
    with processes(folder) as start:
        settings, agent = _start(start, folder, console)
        address = f"http://127.0.0.1:{settings.gateway.port}/v1"
        token = settings.gateway.labels_token.get_secret_value()
        with (
            OpenAI(base_url=address, api_key="none") as model,
            OpenAI(base_url=address, api_key=token) as labels,
            closing(Progress(console, settings)) as progress,
        ):
            late = LateLabels(partial(_post, labels), rng)
            for level in LEVELS:
                questions = make_questions(level, N_EACH, rng)
                for n, answer in enumerate(_answered(model, questions), 1):
                    answers.add(answer)
                    late.answered(answer)
                    start.check()
                    progress.show(f"{n} of {len(questions)} {level} questions answered, {late.n_sent} labels sent", n)
            late.send_all()
            _wait_for_the_last(settings, len(answers) + late.n_sent, start)
        agent.stop()  # it emits pending estimates before it ends
    print_text(console, "")
    console.print(beside_truth(stored_rows(settings), answers, settings.windows.window_events))
    print_text(console, "")
    conclude(folder, answers, settings, console, stored_account(settings))


def _start(start: Starter, folder: Path, console: Console) -> tuple[Settings, Process]:
    """Start the broker, the model server, the gateway and the agent; return when a question can be asked."""
    broker = start.broker(console)
    upstream, port = free_ports(2)
    print_text(console, f"Starting {model_server.MODEL} behind llama.cpp's server, the gateway and the agent …")
    config = folder / "driftgauge.yaml"
    config.write_text(json.dumps(_config(folder, broker.address, upstream, port), indent=2))
    settings = load_settings(config)
    create_topics(build.connection(settings), build.topics_used(settings), 1, 1)
    start.process("model_server", model_server.__name__, str(upstream))
    start.command("gateway", "--config", str(config))
    agent = start.command("run", "--config", str(config))
    deadline = time.monotonic() + READY_S
    while not _is_ready(f"http://127.0.0.1:{port}/health"):  # the gateway passes it on to the model server
        start.check()
        if time.monotonic() > deadline:
            raise ConnectorError(f"the model server is not ready after {READY_S:.0f} s", retriable=False)
        time.sleep(POLL_S)
    print_text(
        console, f"Ready at http://127.0.0.1:{port}/v1. Every answer is checked; a part of the checks become labels."
    )
    return settings, agent


def _config(folder: Path, kafka: str, upstream: int, port: int) -> dict[str, Any]:
    """The settings of the gateway and of the agent (JSON is YAML)."""
    return {
        "kafka": {"bootstrap_servers": [kafka]},
        "gateway": {
            "upstream": f"http://127.0.0.1:{upstream}",
            "port": port,
            "status_port": 0,
            "labels_token": secrets.token_urlsafe(),
            "capture": {"models": [model_server.MODEL], "omits_logprobs": ["chat"]},
        },
        "windows": WINDOWS,
        "drift": DRIFT,
        "store": {"url": f"sqlite:///{folder / STORE}"},
        "report": {"folder": str(folder / "report"), "period_s": 86_400},
        "server": {"enabled": False},
        "logging": {"level": "warning"},
    }


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=POLL_S):  # noqa: S310 - an address of this machine
            return True
    except OSError:
        return False


def _answered(model: OpenAI, questions: Iterable[Question]) -> Iterator[Answer]:
    """Ask the questions, as many at a time as the server has slots, and check the answers."""
    with ThreadPoolExecutor(model_server.SLOTS) as pool:
        yield from pool.map(partial(_ask, model), questions)


def _ask(model: OpenAI, question: Question) -> Answer:
    asked, solved = EXAMPLES[question.domain]
    completion = model.chat.completions.create(
        model=model_server.MODEL,
        messages=[
            {"role": "user", "content": asked},
            {"role": "assistant", "content": solved},
            {"role": "user", "content": question.text},
        ],
        max_tokens=24,
        temperature=0.7,
        stop=["\n"],
        extra_headers={"driftgauge-domain": question.domain},
    )
    text = completion.choices[0].message.content or ""
    return Answer(question, completion.id, float(completion.created), is_right(question, text))


def _post(client: OpenAI, labels: list[Label]) -> None:
    client.post("/labels", cast_to=object, body=labels)


def _wait_for_the_last(settings: Settings, n_events: int, start: Starter) -> None:
    """Return when the store holds every answer and label, or when no more arrive: an empty answer is no event."""
    n, deadline = 0, time.monotonic() + SETTLE_S
    while n < n_events and time.monotonic() < deadline:
        before, n = n, n_stored(settings)
        if n > before:
            deadline = time.monotonic() + SETTLE_S
        start.check()
        time.sleep(POLL_S)


class Progress:
    """Shows the table of the store while the model answers; without a terminal, a line now and then."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self._console, self._settings = console, settings
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._next = 0.0
        if self._live:
            self._live.start()

    def show(self, what: str, n: int) -> None:
        """Show how far the demo is; the table is read again at most every `REFRESH_S`."""
        if self._live is None:
            if n % LINE_EVERY == 0:
                print_text(self._console, what)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + REFRESH_S
            self._live.update(render(_rows(self._settings), what, self._console.width), refresh=True)

    def close(self) -> None:
        """Remove the table; the last one follows."""
        if self._live:
            self._live.stop()


def _rows(settings: Settings) -> list[Row]:
    """The rows of the table; none before the agent has created the store."""
    try:
        return stored_rows(settings)
    except ConnectorError:
        return []


def beside_truth(rows: Sequence[Row], answers: Answers, window_events: int) -> Table:
    """The last estimates, and the truth about the same answers."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("domain", "answers", "labels", "by labels", "estimate", "interval", "truth"):
        table.add_column(heading, justify="left" if heading == "domain" else "right", no_wrap=True)
    for row in rows:
        e, reason = row.estimate, printable(row.estimate.status_reason or row.estimate.status)
        table.add_row(
            row.name,
            str(e.n_events),
            str(e.n_labels),
            format_ratio(e.accuracy_labelled),
            format_ratio(e.accuracy),
            f"{format_ratio(e.ci_low)} to {format_ratio(e.ci_high)}" if e.accuracy is not None else reason,
            format_ratio(answers.truth(e, window_events)),
        )
    return table
