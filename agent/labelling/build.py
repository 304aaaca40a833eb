"""From settings to probes and judges: the only module of this package that knows settings."""

from __future__ import annotations

from collections.abc import Callable

from driftgauge.agent.environment import variable
from driftgauge.agent.labelling.budget import Budget, Limits, Prices
from driftgauge.agent.labelling.checks import Check, by_function, exact, numeric, regex
from driftgauge.agent.labelling.judge import JudgeRules
from driftgauge.agent.labelling.judging import Entry, Judging, open_ledger, spent_by_day
from driftgauge.agent.labelling.probes import Asking, Probe
from driftgauge.config.labelling import EndpointSettings, JudgeSettings, ProbeSettings
from driftgauge.config.load import title_of
from driftgauge.config.probe_file import AnswerSettings, ProbeFile
from driftgauge.connectors.base import ConnectorError, WrongSettingError
from driftgauge.connectors.files.journal import Journal
from driftgauge.connectors.model_server import ModelServer
from driftgauge.connectors.user_functions import user_function

UNCAPTURED = {"driftgauge-capture": "never"}
"""A header for the gateway: it makes no event of such a request, because the sender publishes the answer itself."""


def model_server(settings: EndpointSettings, section: str) -> ModelServer:
    """The server that a section of the settings names.

    Raises
    ------
    ConnectorError
        When the environment variable of the key is not set.
    """
    key = variable(settings.key_from, f"{section}.key_from")
    return ModelServer(
        settings.url, api_key=key, cafile=settings.cafile, timeout_s=settings.timeout_s, headers=UNCAPTURED
    )


def asking(settings: ProbeSettings, model: str) -> Asking:
    """How probes are sent to this model."""
    return Asking(
        model_server(settings, "probes"),
        model,
        k=settings.k,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        pause_s=settings.pause_s,
    )


def probed_model(settings: ProbeSettings) -> str:
    """The model that the settings name, or else the first that the server lists.

    Raises
    ------
    ConnectorError
        When there is none, or the server does not answer.
    """
    if settings.model:
        return settings.model
    models = model_server(settings, "probes").models()
    if not models:
        raise ConnectorError(f"{settings.url} lists no model: set probes.model", retriable=False)
    return models[0]


def judge_rules(settings: JudgeSettings) -> JudgeRules:
    """How the judge is asked.

    Raises
    ------
    WrongSettingError
        When the settings name no judge.
    """
    if not settings.model:
        raise WrongSettingError("there is no judge: set judge.model")
    return JudgeRules(
        model=settings.model,
        name=settings.name or settings.model,
        template=settings.template,
        share=settings.share,
        seed=settings.seed,
        response_format=settings.response_format,
        temperature=settings.temperature,
        max_answer_tokens=settings.max_answer_tokens,
        limit_field=settings.limit_field,
    )


def judge_limits(settings: JudgeSettings) -> tuple[Limits, Limits, Prices]:
    """The limits of a run and of a day, and the prices."""
    return (
        Limits(settings.max_calls_per_run, settings.max_tokens_per_run, settings.max_cost_per_run),
        Limits(settings.max_calls_per_day, settings.max_tokens_per_day, settings.max_cost_per_day),
        Prices(settings.price_sent, settings.price_received),
    )


def judging(
    settings: JudgeSettings, ledger: Journal[Entry], pause: Callable[[float], bool], now: Callable[[], float]
) -> Judging:
    """A run of the judge, within what earlier runs left of the day."""
    entries = open_ledger(ledger, now())
    return Judging(
        judge_rules(settings),
        model_server(settings, "judge"),
        ledger,
        entries,
        Budget(*judge_limits(settings), spent_by_day(entries)),
        concurrency=settings.concurrency,
        max_text_bytes=settings.max_text_bytes,
        pause=pause,
        now=now,
    )


def probes(file: ProbeFile, *, allow_functions: bool) -> list[Probe]:
    """The probes of a file, set by set.

    Raises
    ------
    WrongSettingError
        With every function that cannot be imported, or that the settings do not allow.
    """
    made, problems = list[Probe](), list[str]()
    for set_name, found in file.sets.items():
        before = (("system", found.system),) if found.system else ()
        for prompt in found.prompts:
            try:
                place = f"sets.{set_name}, prompt {prompt.id}"
                check = _check(prompt.answer, place, allow_functions=allow_functions)
            except ConnectorError as error:
                problems.append(str(error))
            else:
                made.append(Probe(set_name, prompt.id, (*before, ("user", prompt.prompt)), check))
    if problems:
        raise WrongSettingError("\n  ".join([title_of(problems, "the probes"), *problems]))
    return made


def _check(answer: AnswerSettings, place: str, *, allow_functions: bool) -> Check:
    if answer.exact is not None:
        return exact(answer.exact)
    if answer.regex is not None:
        return regex(answer.regex)
    if answer.numeric is not None:
        return numeric(answer.numeric, answer.tolerance)
    if not allow_functions:
        raise WrongSettingError(f"{place}: a function needs probes.allow_functions")
    return by_function(user_function(answer.function or "", place))
