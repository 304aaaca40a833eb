"""Sends probes and publishes what came back: each answer as a response with its label.

The id of a response names its probe and the time for which the run was scheduled, so a run that is repeated asks only
what was not answered. An answer is in the journal before it is published, and stays there: what a crash left
unpublished is published again with the same bytes, which the agent recognises as a repeat. An answer is published with
its label or not at all. Bounded by the prompts of one run.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from driftgauge.agent.labelling.checks import Check
from driftgauge.connectors.base import Message
from driftgauge.connectors.capture.answers import in_context, requested_context, responses_in
from driftgauge.connectors.decoding.decoder import Decoder
from driftgauge.connectors.decoding.formats.payload import RequestParameters
from driftgauge.connectors.files.journal import Journal
from driftgauge.connectors.model_server import CHAT, ModelServer, chat_body, patient_exchange, read_chat_answer
from driftgauge.connectors.publishing.payload import rfc3339
from driftgauge.models.events import Generation, Label
from driftgauge.models.probes import PROMPT_SLICE, SOURCE, probe_domain

log = logging.getLogger(__name__)

MAX_FAILURES_IN_A_ROW = 5
"""Prompts without an answer, one after another, after which a run ends: the server is away."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt and the check of its answer.

    Attributes
    ----------
    probe_set, name : together they name the prompt
    messages : pairs of role and content
    """

    probe_set: str
    name: str
    messages: tuple[tuple[str, str], ...]
    check: Check

    def response_id(self, scheduled: float) -> str:
        """The id of its response in the run of this time.

        >>> Probe("sums", "p-1", (), float).response_id(1_767_225_600.0)
        'probe:sums/p-1@2026-01-01T00:00:00Z'
        """
        return f"{probe_domain(self.probe_set)}/{self.name}@{rfc3339(scheduled)}"


@dataclass(frozen=True)
class Asking:
    """How probes are sent.

    Attributes
    ----------
    k : alternatives per token that are asked for
    pause_s : seconds between two probes
    """

    server: ModelServer
    model: str
    k: int = 5
    temperature: float = 0.0
    max_tokens: int = 256
    pause_s: float = 1.0


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the journal: a response was answered, with the messages to publish; or, without them, published."""

    scheduled: float
    response_id: str
    messages: list[Message] = []


@dataclass
class ProbeRun:
    """What became of the probes of one run, by count.

    Attributes
    ----------
    errors : probes without a label, by reason
    """

    answered: int = 0
    right: float = 0.0
    known: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """The counts in a sentence."""
        text = f"{self.answered} probes answered, {self.right:g} right"
        text += f"; {self.known} answered before" if self.known else ""
        reasons = ", ".join(f"{reason} {n}" for reason, n in self.errors.most_common())
        return f"{text}; without a label: {reasons}" if reasons else text


class Prober:
    """Runs all probes, one after another.

    Parameters
    ----------
    message_of : the message that carries an event
    publish : publishes messages; returns when all are acknowledged, raises `ConnectorError` otherwise
    pause : waits these seconds; returns True when the run is to end
    now : UTC seconds
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        asking: Asking,
        journal: Journal[Step],
        message_of: Callable[[Generation | Label], Message],
        publish: Callable[[Sequence[Message]], None],
        pause: Callable[[float], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._probes, self._asking, self._journal = probes, asking, journal
        self._message_of, self._publish, self._pause, self._now = message_of, publish, pause, now
        self._decoder = Decoder(default_domain="")

    def has_begun(self, scheduled: float) -> bool:
        """Whether the journal has answers of the run of this time."""
        return any(step.scheduled == scheduled for step in self._journal.read())

    def run(self, scheduled: float) -> ProbeRun:
        """Send the probes that have no answer in the run of this time, in UTC seconds; log and return what came.

        Raises
        ------
        ConnectorError
            When messages cannot be published. They stay in the journal, and the next run begins with them.
        """
        steps = self._journal.read()
        published = {step.response_id for step in steps if not step.messages}
        for step in steps:
            if step.messages and step.response_id not in published:
                self._published(step)
        known = {step.response_id for step in steps if step.scheduled == scheduled}
        if not known:
            self._journal.replace([])
        run = ProbeRun(known=len(known))
        self._send([probe for probe in self._probes if probe.response_id(scheduled) not in known], scheduled, run)
        log.info("%s", run)
        return run

    def _send(self, probes: Sequence[Probe], scheduled: float, run: ProbeRun) -> None:
        failures = 0
        for i, probe in enumerate(probes):
            if failures == MAX_FAILURES_IN_A_ROW or (i and self._pause(self._asking.pause_s)):
                run.errors["not_sent"] += len(probes) - i
                return
            problem = self._ask(probe, scheduled, run)
            failures = failures + 1 if problem else 0
            if problem:
                run.errors[problem] += 1
                log.warning("probe %s/%s gave no label: %s", probe.probe_set, probe.name, problem)

    def _ask(self, probe: Probe, scheduled: float, run: ProbeRun) -> str:
        """Ask one probe and publish its answer; returns why there is none, or ""."""
        asking = self._asking
        body = chat_body(
            asking.model,
            probe.messages,
            max_tokens=asking.max_tokens,
            temperature=asking.temperature,
            logprobs=True,
            top_logprobs=asking.k,
        )
        reply = patient_exchange(lambda: asking.server.exchange("POST", CHAT, body), self._pause)
        if reply.status != 200:
            return f"status_{reply.status}" if reply.status else "no_answer"
        answer, received = read_chat_answer(reply.body), self._now()
        if answer is None:
            return "unreadable"
        found, dropped = responses_in(self._decoder, reply.body, received)
        if not found:
            return next(iter(dropped), "unreadable")
        try:
            correct = probe.check(answer.text)
        except Exception as error:  # a function of the user: whatever it does, the other probes are sent
            log.warning("the check of probe %s/%s failed: %s", probe.probe_set, probe.name, type(error).__name__)
            return "check_failed"
        step = self._step(probe, scheduled, found[0], correct, received)
        self._journal.append([step])
        self._published(step)
        run.answered += 1
        run.right += correct
        return ""

    def _step(self, probe: Probe, scheduled: float, answer: Generation, correct: float, received: float) -> Step:
        asking, name = self._asking, probe.response_id(scheduled)
        stated = requested_context(RequestParameters(temperature=asking.temperature, k=asking.k))
        response = replace(
            in_context(answer, stated),
            id=name,
            event_time=received,
            domain=probe_domain(probe.probe_set),
            slices={PROMPT_SLICE: probe.name},
            aliases=(answer.id,),
        )
        label = Label(name, name, received, correct, "code", "probe", inclusion_probability=1.0, source=SOURCE)
        return Step(scheduled, name, [self._message_of(response), self._message_of(label)])

    def _published(self, step: Step) -> None:
        self._publish(step.messages)
        self._journal.append([Step(step.scheduled, step.response_id)])
