"""The command ``driftgauge``: a thin shell; every command's work is done by a module that can be called without it.

Exit codes: 0 done, 1 the answer is bad news (a connection fails, a file is not what it should be), 2 wrong usage or
configuration.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from driftgauge.config.load import ConfigError, load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import ConnectorError

app = typer.Typer(
    name="driftgauge",
    help="How often is a deployed LLM right, in each domain it serves? Estimated from output entropy and a few late "
    "labels, with drift alerts and what to label next. To see it work: driftgauge demo",
    epilog="Exit codes: 0 done, 1 bad news (a connection fails, a file is not what it should be), 2 wrong usage or "
    "settings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
dead_letters = typer.Typer(help="Records that could not be used: look at them, send them again.", no_args_is_help=True)
app.add_typer(dead_letters, name="dead-letters")
console = Console()
errors = Console(stderr=True)
PICTURE_HELP = "Picture to write; its suffix decides the format."
PROGRESS_LINE_EVERY_S = 15.0

ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML file; environment and flags override it.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override one setting: --set windows.hop_s=60")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result to this file as JSON.")]
StoreOption = Annotated[
    str, typer.Option("--store", help="Store URL, or the path of an SQLite file; else that of the settings.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Only those with this reason.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only so many, the newest.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
Protocol = Literal["compositions", "labels", "coverage", "alarms"]
FilesArgument = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="In the order they are read.")]
ContextOption = Annotated[str | None, typer.Option(help="Fingerprint of a context, where the store has several.")]
OptionalFiles = Annotated[list[Path] | None, typer.Argument(exists=True, dir_okay=False)]


def main() -> None:
    """Run the command line; turn expected errors into one clear message and an exit code."""
    try:
        app()
    except ConfigError as error:
        fail(str(error), 2)
    except ConnectorError as error:
        fail(str(error), 1)
    except OSError as error:  # a file that cannot be written, a disk that is full
        fail(f"{error.filename or 'output'}: {error.strerror}", 1)


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong and end."""
    errors.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def say(text: str) -> None:
    """Print one line as it is, however long: it may be read by a program."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def settings_from(config: Path | None, overrides: list[str] | None) -> Settings:
    """Settings from file, environment and ``key=value`` flags."""
    pairs = [pair.partition("=") for pair in overrides or []]
    return load_settings(config, {key: value for key, _, value in pairs})


def when_told_to_stop(stop: Callable[[], object]) -> None:
    """Call this on SIGTERM and Ctrl-C, instead of ending at once."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop())


@contextmanager
def stages_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show the progress of work in stages; yields a function that is told the stage, what is done, and the total.

    Bars on a terminal, else a line now and then. The total is None where it is not known.
    """
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}
        next_line = time.monotonic() + PROGRESS_LINE_EVERY_S

        def shown(stage: str, done: int, total: int | None) -> None:
            nonlocal next_line
            if not errors.is_terminal and time.monotonic() >= next_line:
                next_line = time.monotonic() + PROGRESS_LINE_EVERY_S
                errors.print(f"{stage}: {done:,}" + ("" if total is None else f" of {total:,}"), highlight=False)
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage)
            progress.update(tasks[stage], completed=done, total=total)

        yield shown


@contextmanager
def progress_bar(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """The same for work of one stage; yields a function that is told how much more was done."""
    with stages_bar() as shown:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            shown(description, done, total)

        yield advance


def drawable(path: Path | None) -> Path | None:
    """Make sure, before what takes long, that a picture can be drawn there."""
    from driftgauge.agent.evaluation.figure import SUFFIXES, drawing

    if path is not None:
        if path.suffix.lower() not in SUFFIXES:
            raise typer.BadParameter(f"{path.name} does not end in {', '.join(SUFFIXES)}")
        drawing()
    return path


def whole_numbers(text: str, option: str) -> list[int]:
    """The numbers of an option such as ``1,2,3``."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not numbers separated by commas", param_hint=option) from error


def write_json(path: Path | None, value: object) -> None:
    """Write a JSON file, if one was asked for."""
    if path is not None:
        path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def print_table(lines: Iterable[Sequence[str]]) -> None:
    """Print rows of text in columns, whole however narrow the terminal is; the first is the header."""
    rows = list(lines)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say(text.rstrip())


@app.command()
def version() -> None:
    """Print the version."""
    say(f"driftgauge {installed_version('driftgauge')}")


@app.command()
def run(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Run the agent: read from Kafka, publish estimates, until SIGTERM or Ctrl-C."""
    from driftgauge.agent.service.stopping import stopped_by_signals

    with stopped_by_signals() as stopping:  # before the imports below, which take a second
        from driftgauge.agent.service.agent import run_agent
        from driftgauge.agent.service.logs import start_logging

        settings = settings_from(config, overrides)
        start_logging(settings.logging.level, json_lines=settings.logging.json_lines)
        run_agent(settings, stopping)


@app.command()
def demo(
    kafka: Annotated[bool, typer.Option("--kafka", help="Three processes over a real Apache Kafka.")] = False,
    folder: Annotated[Path, typer.Option(help="Where store, report and results go.")] = Path("out/demo"),
    seed: SeedOption = 0,
) -> None:
    """Watch accuracy being estimated on recorded traffic: few labels, no labels, then drift."""
    from driftgauge.agent.demo.embedded import run_embedded
    from driftgauge.agent.demo.on_kafka import run_on_kafka

    (run_on_kafka if kafka else run_embedded)(folder, console, seed=seed)


@app.command()
def replay(
    files: Annotated[list[Path] | None, typer.Argument(exists=True, dir_okay=False)] = None,
    since: Annotated[str, typer.Option("--from", help="Without files: replay Kafka topics from this time on.")] = "",
    until: Annotated[str, typer.Option("--to", help="… and before this time; both may be offsets, TOPIC/0:17.")] = "",
    label_delay: Annotated[int, typer.Option(min=0, help="Responses between a response and its label.")] = 200,
    label_fraction: Annotated[float, typer.Option(min=0, max=1, help="Share of responses that get a label.")] = 0.1,
    labels_per_domain: Annotated[
        int | None, typer.Option(min=0, help="Instead of a share: so many labels in every domain.")
    ] = None,
    no_labels: Annotated[str, typer.Option(help="Domains without labels, separated by commas.")] = "",
    seed: SeedOption = 0,
    store: Annotated[str, typer.Option(help="Store URL or path of an SQLite file; by default nothing is kept.")] = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """Replay recorded traffic, or what Kafka topics held, through the agent and print what it says.

    Recordings (.npz) get labels by the options; events as JSON lines (.jsonl, also .gz or .zst) bring their own. Topics
    are read in the order of time, up to now without --to; the live agent and its store are left alone.
    """
    from driftgauge.agent.service.replay import read_bound, replay_files, replay_topics
    from driftgauge.connectors.files.traffic import LabelPlan

    without = frozenset(name for name in no_labels.split(",") if name)
    plan = LabelPlan(label_delay, label_fraction, per_domain=labels_per_domain, without=without)
    settings, url = settings_from(config, overrides), store_url(store)
    if files and (since or until):
        raise typer.BadParameter("--from and --to are places in Kafka topics; files are replayed whole")
    if files:
        result = replay_files(files, plan, settings, console, seed=seed, store_url=url)
    elif since or until:
        result = replay_topics(read_bound(since), read_bound(until), settings, console, store_url=url)
    else:
        raise typer.BadParameter("name files, or with --from or --to a part of the Kafka topics")
    write_json(out, result)


@app.command()
def produce(
    files: FilesArgument,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Publish recorded traffic (.npz) to the topics the agent reads, with the labels of the demo."""
    from driftgauge.agent.commands.produce import produce as produce_events
    from driftgauge.agent.demo.embedded import PLAN

    with progress_bar("producing") as advance:
        count = produce_events(files, PLAN, settings_from(config, overrides), seed=seed, advance=advance)
    say(f"{count} events published")


@app.command()
def watch(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Print estimates as the agent publishes them, until SIGTERM or Ctrl-C."""
    from driftgauge.agent.commands.produce import watch as watch_estimates

    stopping = threading.Event()
    when_told_to_stop(stopping.set)
    watch_estimates(settings_from(config, overrides), console, stopping)


@app.command()
def features(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option("--out", help="Output: .npz or .jsonl.")],
) -> None:
    """Write the 17 features of every response of a recording (.npz) or a file of events (.jsonl, also .gz or .zst)."""
    if out.suffix not in {".npz", ".jsonl"}:
        raise typer.BadParameter("the output is .npz or .jsonl", param_hint="--out")
    from driftgauge.connectors.files.feature_tables import write_features

    with progress_bar("features") as advance:
        count = write_features(file, out, advance)
    say(f"{count} responses -> {out}")


@app.command()
def decode(
    files: FilesArgument,
    format_name: Annotated[str, typer.Option("--format", help="A wire format, or auto: told by the keys.")] = "auto",
    out: JsonOption = None,
) -> None:
    """Show what the agent understands of captured payloads (JSON, JSON lines, server-sent events), and what it cannot.

    Exit code 1: something in the files was rejected.
    """
    from driftgauge.connectors.decoding.formats.payload import PayloadError
    from driftgauge.connectors.decoding.inspection import decode_files, show

    try:
        found = decode_files(files, format_name)
    except PayloadError as error:
        raise typer.BadParameter(str(error), param_hint="--format") from error
    show(found, console)
    write_json(out, found)
    if any(file["rejected"] for file in found):
        raise typer.Exit(1)


@app.command()
def fit(
    out: Annotated[Path, typer.Option("--out", help="Fitted file to write; the setting context.start_from names it.")],
    files: OptionalFiles = None,
    store: Annotated[str, typer.Option(help="Instead of files: labelled responses of this store.")] = "",
    context: ContextOption = None,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Teach the classifiers labelled traffic (.npz files, or a store), so that new contexts start warm from it."""
    from driftgauge.agent.evaluation import fit as engine
    from driftgauge.agent.service import build
    from driftgauge.connectors.files.recordings import read_recording

    if bool(files) == bool(store):
        raise typer.BadParameter("give recordings or --store, one of both", param_hint="FILES")
    told = build.unfitted_pipeline_settings(settings_from(config, overrides))
    if url := store_url(store):
        rows = engine.rows_of_store(url, context, told.max_training_rows)
    else:
        recordings = [read_recording(path) for path in files or []]
        rows = engine.rows_of(recordings, entropy=told.entropy, segments=told.segments, seed=seed)
    with progress_bar("learning", len(rows)) as advance:
        fitted = engine.fit(rows, told, advance)
    engine.save_fit(out, fitted.context)
    print_table(engine.table(fitted.metrics))
    say(f"{len(rows)} labels -> {out}")


@app.command()
def curves(
    files: FilesArgument,
    out: Annotated[Path, typer.Option("--out", callback=drawable, help=PICTURE_HELP)],
    in_a_row: Annotated[bool, typer.Option("--in-a-row", help="One run through all files, in this order.")] = False,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Draw how fast every kind of classifier learns labelled traffic (.npz), and print a table (Markdown)."""
    from driftgauge.agent.evaluation.curves import draw, markdown, measure
    from driftgauge.agent.service.build import committee_settings
    from driftgauge.connectors.files.recordings import read_recording

    recordings = [read_recording(path) for path in files]
    runs = [recordings] if in_a_row else [[recording] for recording in recordings]
    with errors.status("curves") as status:
        made = measure(runs, committee_settings(settings_from(config, overrides)), seed=seed, show=status.update)
    draw(made, out)
    say(markdown(made))


@app.command("versions")
def list_versions(
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
    out: JsonOption = None,
) -> None:
    """List the classifier versions that a store holds, with how good they were; the agent may be running."""
    from contextlib import closing

    from driftgauge.agent.outlets.versions import contexts_in, table, versions
    from driftgauge.connectors.store.queries import open_queries

    url = store_url(store) or settings_from(config, overrides).store.url.get_secret_value()
    with closing(open_queries(url)) as reader:
        found = versions(contexts_in(reader))
    print_table(table(found))
    write_json(out, found)


@app.command()
def rollback(
    number: Annotated[int, typer.Argument(help="A version that `driftgauge versions` lists.")],
    store: StoreOption = "",
    context: ContextOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Let a stored classifier version predict again. Stop the agent first, and give the agent's own settings."""
    from contextlib import closing

    from driftgauge.agent.outlets.versions import rollback as bring_back
    from driftgauge.agent.service import build

    settings = settings_from(config, overrides)
    with closing(build.store(settings, store_url(store))) as opened:
        name = bring_back(opened, build.committee_settings(settings), number, context)
    say(f"version {number} predicts again in context {name}")


@app.command()
def report(
    store: StoreOption = "",
    folder: Annotated[Path | None, typer.Option(help="Where the report goes.")] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Write the report of the last period at once, as Markdown and JSON."""
    from driftgauge.agent.outlets.report_files import write_report_now

    for path in write_report_now(settings_from(config, overrides), store_url(store), folder):
        say(str(path))


@app.command()
def evaluate(
    traffic: FilesArgument,
    protocol: Annotated[Protocol, typer.Option(help="What to measure.")] = "compositions",
    k: Annotated[str, typer.Option(help="Numbers of labelled domains, separated by commas.")] = "1,2,3,4",
    max_compositions: Annotated[int, typer.Option(min=1, help="Sets of k domains, chosen by the seed.")] = 400,
    labels: Annotated[str, typer.Option(help="Numbers of labels from the estimated domain.")] = "0,5,20,50,100",
    target: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Estimate this recording.")] = None,
    seed: SeedOption = 0,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one for every core.")] = -1,
    out: JsonOption = None,
    picture: Annotated[Path | None, typer.Option("--plot", callback=drawable, help=PICTURE_HELP)] = None,
) -> None:
    """Measure how close the estimators come on recorded traffic (.npz) whose truth is known."""
    from driftgauge.agent.evaluation import evaluate as evaluation
    from driftgauge.agent.evaluation.view import plot, render

    ks, counts = whole_numbers(k, "--k"), whole_numbers(labels, "--labels")
    with stages_bar() as progress:
        result = evaluation.evaluate(
            traffic, protocol, ks, max_compositions, counts, target, seed=seed, jobs=jobs, progress=progress
        )
    console.print(render(result))
    write_json(out, result)
    if picture is not None:
        plot(result, picture)


@app.command()
def backup(
    to: Annotated[Path, typer.Option("--to", dir_okay=False, help="Where the copy goes; it must not exist.")],
    store: StoreOption = "",
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Copy an SQLite store to a file, also while the agent runs on it."""
    from driftgauge.connectors.store.queries import backup as copy_store

    copy_store(store_of(store, config, overrides), to)
    say(f"{to}: {to.stat().st_size:,} bytes")


@dead_letters.command("list")
def list_dead_letters(
    store: StoreOption = "",
    reason: ReasonOption = "",
    limit: LimitOption = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the bytes in base64.")] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show dead letters, the newest last."""
    from driftgauge.agent.commands import dead_letters
    from driftgauge.connectors.store.dead_letters import find_dead_letters

    found = find_dead_letters(store_of(store, config, overrides), reason=reason, limit=limit)
    if as_json:
        for letter in found:
            typer.echo(json.dumps(dead_letters.as_json(letter)))
    else:
        console.print(dead_letters.as_table(found))


@dead_letters.command("retry")
def retry_dead_letters(
    store: StoreOption = "",
    reason: ReasonOption = "",
    limit: LimitOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Publish dead letters to the topics they came from; what was sent leaves the store."""
    from driftgauge.agent.commands.dead_letters import retry

    settings = settings_from(config, overrides)
    done = retry(settings, store_of(store, config, overrides), reason=reason, limit=limit)
    say(f"{done.n_sent} sent again, {done.n_left} left: bytes or topic unknown")


@app.command("check-config")
def check_config(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """Print the effective settings without secrets and test every connection."""
    from driftgauge.agent.commands.check_config import check

    if not check(settings_from(config, overrides), console):
        raise typer.Exit(1)


def store_of(given: str, config: Path | None, overrides: list[str] | None) -> str:
    """The URL of the store that was named, else that of the settings."""
    return store_url(given) or settings_from(config, overrides).store.url.get_secret_value()


def store_url(given: str) -> str | None:
    """A store URL from what a person typed: a URL, or the path of an SQLite file."""
    if not given or "://" in given:
        return given or None
    return f"sqlite:///{given}"


if __name__ == "__main__":
    main()
