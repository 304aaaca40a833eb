"""``driftgauge evaluate`` and ``driftgauge curves``: estimators and classifiers measured on recorded traffic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console, RenderableType

from driftgauge.agent.commands.options import (
    ConfigOption,
    FeatureSetOption,
    FilesArgument,
    JsonOption,
    SeedOption,
    SetOption,
    in_a_folder,
    settings_from,
)
from driftgauge.agent.commands.terminal import console, errors, print_line, stage_progress, write_json

PICTURE_HELP = "Picture to write; its suffix decides the format."

Protocol = Literal[
    "compositions", "labels", "coverage", "alarms", "live", "responses", "selection", "ranking", "segments", "drift"
]

_STREAMS = ("label_fraction", "label_delay", "rate", "config", "overrides")
_COMPOSED = ("k", "max_compositions", "feature_set", "top_k", "picture")
_NOT_FOR_DRAWS = (*_COMPOSED, "target", *_STREAMS)
INAPPLICABLE: Mapping[Protocol, tuple[str, ...]] = {
    "selection": _NOT_FOR_DRAWS,
    "ranking": _NOT_FOR_DRAWS,
    "segments": (*_NOT_FOR_DRAWS, "confidence_level"),
    "drift": (*_COMPOSED, "labels", "confidence_level", "per_domain"),
}
"""Parameters of `evaluate` that a protocol does not use; the others use neither ``repeats`` nor those of streams."""

DRAWS, SHUFFLES = 50, 10
"""Default of ``repeats``, for `selection`, `ranking` and `segments`, and for `drift`."""


def drawable(path: Path | None) -> Path | None:
    """Check, before the long work begins, that a picture can be drawn to this path."""
    from driftgauge.agent.evaluation.figure import SUFFIXES, drawing

    if path is not None:
        if path.suffix.lower() not in SUFFIXES:
            raise typer.BadParameter(f"{path.name} does not end in {', '.join(SUFFIXES)}")
        drawing()
    return in_a_folder(path)


def evaluate(
    context: typer.Context,
    traffic: FilesArgument,
    protocol: Annotated[Protocol, typer.Option(help="What to measure.")] = "compositions",
    k: Annotated[str, typer.Option(help="Numbers of labelled domains, separated by commas.")] = "1,2,3,4",
    max_compositions: Annotated[
        int, typer.Option(min=1, help="Sets of k domains, or replays, chosen by the seed.")
    ] = 400,
    labels: Annotated[
        str, typer.Option(help="Numbers of labels from the estimated domain, separated by commas.")
    ] = "0,5,20,50,100",
    target: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Estimate the domains of this recording.")
    ] = None,
    feature_set: FeatureSetOption = "extended",
    top_k: Annotated[
        str, typer.Option(help="Numbers of alternatives to cut the recordings to, separated by commas; empty: all.")
    ] = "",
    confidence_level: Annotated[
        float, typer.Option(min=0.01, max=0.999, help="Probability with which intervals should contain the truth.")
    ] = 0.9,
    per_domain: Annotated[
        int, typer.Option(min=20, help="Labelled responses of each domain that are used, drawn by the seed.")
    ] = 2_000,
    repeats: Annotated[
        int | None, typer.Option(min=1, help=f"Draws of labels ({DRAWS}); shuffles of `drift` ({SHUFFLES}).")
    ] = None,
    label_fraction: Annotated[float, typer.Option(min=0, max=1, help="Share of labelled responses of `drift`.")] = 0.05,
    label_delay: Annotated[int, typer.Option(min=0, help="Responses until a label comes, of `drift`.")] = 200,
    rate: Annotated[float, typer.Option(min=1e-6, help="Responses per second of event time, of `drift`.")] = 1.0,
    config: ConfigOption = None,
    overrides: SetOption = None,
    seed: SeedOption = 0,
    jobs: Annotated[int, typer.Option(help="Number of processes; -1: one for every core.")] = -1,
    out: JsonOption = None,
    picture: Annotated[Path | None, typer.Option("--plot", callback=drawable, help=PICTURE_HELP)] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", dir_okay=False, callback=in_a_folder, help="Page to write, with pictures and every number."
        ),
    ] = None,
) -> None:
    """Measure how close the estimators come to the true accuracy, on recorded traffic (.npz) with known truth."""
    from driftgauge.agent.evaluation import evaluate as evaluation
    from driftgauge.agent.evaluation.drift_trials import drift
    from driftgauge.agent.evaluation.page import to_page
    from driftgauge.agent.evaluation.ranking_trials import ranking
    from driftgauge.agent.evaluation.segment_trials import segments
    from driftgauge.agent.evaluation.selection_trials import selection
    from driftgauge.agent.evaluation.view import (
        account_lines,
        drift_tables,
        plot,
        ranking_tables,
        render,
        segments_table,
        selection_table,
    )
    from driftgauge.agent.service.build_pipeline import pipeline_settings
    from driftgauge.connectors.files.traffic import LabelPlan

    refuse_inapplicable(context, protocol)
    ks, counts = whole_numbers(k, "--k"), whole_numbers(labels, "--labels")
    cuts = whole_numbers(top_k, "--top-k", least=1) if top_k else (None,)
    with stage_progress() as show:
        if protocol == "selection":
            several = [n for n in counts if n > 1]
            result = selection(traffic, several, repeats or DRAWS, seed, jobs, show, confidence_level, per_domain)
            print_whole(selection_table(result))
        elif protocol == "ranking":
            result = ranking(traffic, counts, repeats or DRAWS, seed, jobs, show, confidence_level, per_domain)
            print_whole(ranking_tables(result))
        elif protocol == "segments":
            result = segments(traffic, [n for n in counts if n], repeats or DRAWS, seed, jobs, show, per_domain)
            print_whole(segments_table(result))
        elif protocol == "drift":
            plan, agent = LabelPlan(label_delay, label_fraction), pipeline_settings(settings_from(config, overrides))
            result = drift(traffic, needed(target), plan, repeats or SHUFFLES, seed, jobs, show, agent, rate)
            print_whole(drift_tables(result))
        else:
            result = evaluation.evaluate(
                traffic, protocol, ks, max_compositions, counts, target,
                feature_set=feature_set, top_k=cuts, seed=seed, jobs=jobs, progress=show,
                confidence_level=confidence_level, per_domain=per_domain,
            )  # fmt: skip
            print_whole(render(result))
    for line in account_lines(result):
        print_line(line)
    write_json(out, result)
    if html is not None:
        html.write_text(to_page(result, protocol), encoding="utf-8")
    if picture is not None:
        plot(result, picture)


def print_whole(tables: RenderableType) -> None:
    """Print tables of which no cell is cut: a terminal that is narrower than they are wraps their lines."""
    needed = console.measure(tables, options=console.options.update_width(10_000)).maximum
    Console(width=max(console.width, needed)).print(tables)


def needed(target: Path | None) -> Path:
    """The later recording of the protocol ``drift``; a usage error without one."""
    if target is None:
        raise typer.BadParameter("--protocol drift needs --target, the recording that follows")
    return target


def refuse_inapplicable(context: typer.Context, protocol: Protocol) -> None:
    """Raise a usage error that names every option that was given and that the protocol does not use."""
    unused = INAPPLICABLE.get(protocol, ("repeats", *_STREAMS))
    sources = {name: context.get_parameter_source(name) for name in unused}
    if given := [name for name, source in sources.items() if source is not None and source.name != "DEFAULT"]:
        options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
        names = ", ".join(options[name] for name in given)
        raise typer.BadParameter(f"not used by --protocol {protocol}: {names}", ctx=context)


def curves(
    files: FilesArgument,
    out: Annotated[Path, typer.Option("--out", callback=drawable, help=PICTURE_HELP)],
    in_a_row: Annotated[
        bool, typer.Option("--in-a-row", help="Learn all files in one run, one after another, instead of a run each.")
    ] = False,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Draw how fast every kind of classifier learns labelled traffic (.npz), and print a table (Markdown)."""
    from driftgauge.agent.evaluation.curves import draw, markdown, measure
    from driftgauge.agent.service.build_pipeline import committee_settings
    from driftgauge.connectors.files.recordings import read_recording

    recordings = [read_recording(path) for path in files]
    runs = [recordings] if in_a_row else [[recording] for recording in recordings]
    with errors.status("curves") as status:
        measured = measure(runs, committee_settings(settings_from(config, overrides)), seed=seed, show=status.update)
    draw(measured, out)
    print_line(markdown(measured))


def whole_numbers(text: str, option: str, least: int = 0) -> list[int]:
    """Read the numbers of an option such as ``1,2,3``, each at least ``least``.

    >>> whole_numbers("1,2,3", "--k")
    [1, 2, 3]
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not whole numbers separated by commas", param_hint=option) from error
    if min(numbers) < least:
        raise typer.BadParameter(f"{min(numbers)} is below {least}", param_hint=option)
    return numbers
