"""The file of probes: what it may hold, and one message for all that is wrong in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from driftgauge.agent.labelling import build
from driftgauge.config.load import ConfigError
from driftgauge.config.probe_file import MAX_PROMPTS, ProbeFile, load_probes
from driftgauge.connectors.base import ConnectorError

DOCUMENT = Path(__file__).parents[2] / "docs" / "judges_and_probes.md"
GOOD = """
sets:
  sums:
    system: Answer with the number alone.
    prompts:
      - {id: small, prompt: 'What is 17 + 25?', answer: {numeric: 42}}
      - {id: word, prompt: 'Spell 7.', answer: {exact: seven}}
  geography:
    prompts:
      - {id: capital, prompt: 'Capital of France?', answer: {regex: '(?i)\\bparis\\b'}}
      - {id: own, prompt: 'Say it.', answer: {function: 'tests.labelling.test_probe_file:is_it'}}
"""


def is_it(text: str) -> bool:
    return text == "it"


def written(folder: Path, text: str) -> Path:
    path = folder / "probes.yaml"
    path.write_text(text)
    return path


def test_each_prompt_becomes_a_probe_with_its_check(tmp_path: Path) -> None:
    made = build.probes(load_probes(written(tmp_path, GOOD)), allow_functions=True)
    names = [(probe.probe_set, probe.name) for probe in made]
    assert names == [("sums", "small"), ("sums", "word"), ("geography", "capital"), ("geography", "own")]
    assert made[0].messages == (("system", "Answer with the number alone."), ("user", "What is 17 + 25?"))
    assert made[2].messages == (("user", "Capital of France?"),)
    assert [probe.check(text) for probe, text in zip(made, ("42", "seven", "PARIS!", "it"), strict=True)] == [1.0] * 4
    assert [probe.check("no") for probe in made] == [0.0] * 4


def test_the_example_of_the_documents_is_a_file_of_probes(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yml\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    made = build.probes(load_probes(written(tmp_path, example)), allow_functions=False)
    right = {"sum-1": "42", "root-1": "1.41421", "capital-fr": "It is Paris.", "capital-it": "Rome"}
    assert {probe.name: probe.check(right[probe.name]) for probe in made} == dict.fromkeys(right, 1.0)


def test_one_message_lists_every_problem(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
sets:
  sums:
    sytem: Hello
    prompts:
      - {id: a, prompt: 'One?', answer: {exact: one, numeric: 1}}
      - {id: a b, prompt: 'Two?', answer: {exact: 2}}
      - {id: c, prompt: '', answer: {}}
      - {id: d, prompt: 'Four?', answer: {regex: '('}}
      - {id: e, prompt: 'Five?', answer: {exact: five, tolerance: 1}}
      - {id: f, prompt: 'Six?', answer: {function: os.system}}
  twice:
    prompts:
      - {id: a, prompt: 'One?', answer: {exact: one}}
      - {id: a, prompt: 'Two?', answer: {exact: two}}
  none: {prompts: []}
""",
    )
    with pytest.raises(ConfigError) as caught:
        load_probes(path)
    message = str(caught.value)
    for problem in (
        "11 problems with the probes:",
        "sets.sums.sytem",
        "needs exactly one of exact, regex, numeric and function, has 2",
        "sets.sums.prompts.1.id",
        "YAML reads it as a number: write it in quotes (line 7)",
        "sets.sums.prompts.2.prompt",
        "has 0",
        "regex is no regular expression",
        "tolerance belongs to numeric",
        "sets.sums.prompts.5.answer.function",
        "several prompts have the id a",
        "sets.none (",
        "prompts is empty",
    ):
        assert problem in message, message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sets: {}", "sets"),
        ("", "sets"),
        ("- a", "must be a mapping"),
        ("sets: {'../x': {prompts: [{id: a, prompt: p, answer: {exact: a}}]}}", "pattern"),
        ("sets: *x", "not valid YAML"),
    ],
)
def test_a_file_that_holds_no_probes_is_an_error(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_probes(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"with the probes:\n.*absent\.yaml: cannot be read"):
        load_probes(tmp_path / "absent.yaml")


def test_the_number_of_prompts_is_bounded() -> None:
    prompts = [{"id": f"p{i}", "prompt": "p", "answer": {"exact": "a"}} for i in range(MAX_PROMPTS + 1)]
    with pytest.raises(ValueError, match="at most 1000"):
        ProbeFile.model_validate({"sets": {"a": {"prompts": prompts}}})


def test_functions_are_refused_unless_the_settings_allow_them_and_all_that_fail_are_named() -> None:
    def answered(function: str) -> dict[str, object]:
        return {"id": function.replace(":", "."), "prompt": "p", "answer": {"function": function}}

    prompts = [answered("tests.labelling.test_probe_file:is_it"), answered("nowhere:f"), answered("os:nothing")]
    file = ProbeFile.model_validate({"sets": {"a": {"prompts": prompts}}})
    with pytest.raises(ConnectorError, match="3 problems with the probes") as caught:
        build.probes(file, allow_functions=False)
    assert str(caught.value).count("a function needs probes.allow_functions") == 3
    with pytest.raises(ConnectorError, match="2 problems with the probes"):
        build.probes(file, allow_functions=True)
