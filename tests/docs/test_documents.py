"""All that the documents name exists: links, files, commands with their flags, targets, settings, metrics, imports."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from driftgauge.agent.cli import app
from driftgauge.agent.core.settings import PipelineSettings
from driftgauge.agent.core.state import State
from driftgauge.agent.delivery.metrics import DeliveryMetrics
from driftgauge.agent.extraction.extractor import Work
from driftgauge.agent.extraction.metrics import ExtractionMetrics
from driftgauge.agent.gateway.parts import Parts
from driftgauge.agent.outlets.metrics import Metrics
from driftgauge.config.example import example
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.base import TopicPartition

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("agent/demo/data/*.md"),
        *ROOT.glob("tests/recordings/*.md"),
    ]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    document: str
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    found = [Block(str(p.relative_to(ROOT)), *match) for p in DOCUMENTS for match in FENCE.findall(p.read_text())]
    return [block for block in found if block.language in languages]


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text())


def code_spans() -> Iterator[tuple[str, str]]:
    for path in DOCUMENTS:
        for span in CODE.findall(prose(path)):
            yield str(path.relative_to(ROOT)), span


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(program: str) -> list[tuple[str, str]]:
    """Commands in console blocks and in code spans, with the document they stand in."""
    lines = [(b.document, line) for b in blocks("console", "sh", "bash") for line in b.text.splitlines()]
    shown = [
        (document, line.removeprefix("$ ").partition(" #")[0]) for document, line in lines if line.startswith("$ ")
    ]
    return [(d, text.strip()) for d, text in [*shown, *code_spans()] if text.strip().startswith(f"{program} ")]


def settings_paths(section: type[BaseModel] = Settings, above: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield f"{above}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_paths(field.annotation, f"{above}{name}.")


def test_documents_and_their_examples_are_found() -> None:
    names = {str(path.relative_to(ROOT)) for path in DOCUMENTS}
    assert {
        "README.md",
        "CHANGELOG.md",
        "docs/architecture.md",
        "docs/operating.md",
        "docs/glossary.md",
        "docs/events.md",
    } <= names
    assert blocks("python")
    assert blocks("yaml")
    assert commands("driftgauge")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_existing_files_and_headings(path: Path) -> None:
    broken = []
    for link in LINK.findall(prose(path)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda b: b.document)
def test_yaml_examples_load_as_settings(block: Block, tmp_path: Path) -> None:
    assert set(yaml.safe_load(block.text)) <= set(Settings.model_fields)
    path = tmp_path / "driftgauge.yaml"
    path.write_text(block.text)
    load_settings(path)


@pytest.mark.parametrize("block", blocks("json"), ids=lambda b: b.document)
def test_json_examples_are_valid_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=lambda b: b.document)
def test_python_examples_run(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("driftgauge."):
            module = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
    exec(compile(block.text, block.document, "exec"), {})  # noqa: S102 - our own documents


def test_commands_and_their_flags_exist() -> None:
    group: Any = typer.main.get_command(app)
    wrong = []
    for document, text in commands("driftgauge"):
        name, *arguments = shlex.split(text)[1:]
        command = group.commands.get(name)
        while arguments and not arguments[0].startswith("-") and (subcommands := getattr(command, "commands", None)):
            command = subcommands.get(arguments.pop(0))
        known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} if command else set()
        flags = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
        if command is None or flags - known - {"--help"}:
            wrong.append((document, text))
    assert wrong == []


def test_modules_named_in_commands_exist() -> None:
    named = [(d, text.split()[2]) for d, text in commands("python") if text.split()[1] == "-m"]
    assert named
    assert [(d, name) for d, name in named if importlib.util.find_spec(name) is None] == []


def test_make_targets_named_in_commands_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert [(d, text) for d, text in commands("make") if text.split()[1] not in targets] == []


def test_settings_named_in_prose_exist() -> None:
    known = set(settings_paths())
    named = [
        (d, s.partition(":")[0])
        for d, s in code_spans()
        if re.match(rf"({'|'.join(Settings.model_fields)})\.\w", s)
        and d != "docs/dependencies.md"  # its names are those of libraries
    ]
    assert named
    assert [(d, name) for d, name in named if name not in known and not ((ROOT / d).parent / name).exists()] == []


def test_environment_variables_named_in_documents_belong_to_a_setting() -> None:
    known = {f"DRIFTGAUGE_{path.upper().replace('.', '__')}" for path in settings_paths()} | {"DRIFTGAUGE_CONFIG"}
    texts = [path.read_text() for path in DOCUMENTS] + [example()]
    named = {name for text in texts for name in re.findall(r"\bDRIFTGAUGE_[A-Z]\w*[A-Z]", text)}
    assert named
    assert named - known == set()


def test_metrics_named_in_prose_exist() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    state = State(PipelineSettings())
    state.annotator_pairs.n = 1
    metrics.batch([], [], state)
    metrics.lag({TopicPartition("labels", 0): 1})
    registry.register(ExtractionMetrics(Work(lag={TopicPartition("generations", 0): 1})))
    families = names_in(registry) | gateway_metrics() | delivery_metrics()
    named = [(d, s.partition("{")[0]) for d, s in code_spans() if re.fullmatch(r"driftgauge_[a-z_]+(\{.*\})?", s)]
    # these have no sample before the first event, and before a label waits
    without_sample = {"driftgauge_watermark_timestamp_seconds", "driftgauge_labels_pending_oldest_timestamp_seconds"}
    assert named
    assert [(d, name) for d, name in named if name not in families | without_sample] == []


def test_every_metric_of_the_gateway_is_documented() -> None:
    text = (ROOT / "docs/gateway.md").read_text()
    assert [name for name in sorted(gateway_metrics()) if f"`{name}`" not in text] == []


def gateway_metrics() -> set[str]:
    registry = CollectorRegistry()
    Parts(Settings(), registry)
    return names_in(registry)


def delivery_metrics() -> set[str]:
    registry = CollectorRegistry()
    registry.register(DeliveryMetrics([], None))
    return names_in(registry)


def names_in(registry: CollectorRegistry) -> set[str]:
    """Names of metrics as Prometheus shows them."""
    return {f"{f.name}_total" if f.type == "counter" else f.name for f in registry.collect()}


def test_files_named_in_prose_exist() -> None:
    files = re.compile(r"(agent|connectors|models|config|tests|docs)/[\w./-]*\w")
    named = [(d, s) for d, s in code_spans() if files.fullmatch(s)]
    assert named
    assert [(d, name) for d, name in named if not (ROOT / name).exists()] == []
