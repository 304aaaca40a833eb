"""The rules for Prometheus are valid, tested with promtool, and run on a real Prometheus that scraped an agent."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.deadline import until
from tests.docs.test_documents import anchors
from tests.ops.files import CONFIGURATION, ROOT, RULES, RULES_TEST
from tests.ops.prometheus import Prometheus

pytestmark = [pytest.mark.prometheus, pytest.mark.xdist_group("prometheus")]

ALL = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in ALL if "alert" in rule]
SELECTOR = re.compile(r"\b(?:driftgauge_\w+|domain:driftgauge_[\w:]+|up)\b(?:\{[^}]*\})?")


@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "--lint=all", "--lint-fatal", str(RULES)],
        ["test", "rules", str(RULES_TEST)],
        ["check", "config", str(CONFIGURATION)],
    ],
)
def test_promtool_accepts_the_files(promtool: str, command: list[str]) -> None:
    done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_runs_on_metrics_that_the_agent_has(prometheus: Prometheus, rule: dict[str, Any]) -> None:
    prometheus.query(rule["expr"])
    selectors = SELECTOR.findall(rule["expr"])
    assert selectors
    assert [selector for selector in selectors if not prometheus.query(selector)] == []


def test_prometheus_evaluates_all_rules_without_an_error(prometheus: Prometheus) -> None:
    def evaluated() -> list[Any]:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        return [] if any(rule["health"] == "unknown" for rule in rules) else rules

    until(evaluated)
    assert [(rule["name"], rule["lastError"]) for rule in evaluated() if rule["health"] != "ok"] == []
    assert len(evaluated()) == len(ALL)


def test_the_domains_that_labels_prove_below_target_fire(prometheus: Prometheus) -> None:
    expected = {s["metric"]["domain"] for s in prometheus.query('driftgauge_alert_state{kind="below_target"} == 1')}
    assert expected

    def firing() -> set[str]:
        return {s["metric"]["domain"] for s in prometheus.query('ALERTS{alertname="DriftgaugeBelowTarget"}')}

    until(lambda: firing() == expected)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_happened_what_to_do_and_where_to_read_on(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert set(notes) == {"summary", "action", "runbook"}
    assert notes["summary"].endswith(".")
    assert "\n" not in notes["summary"]
    assert rule["labels"]["severity"] in {"alarm", "warning"}
    document, _, anchor = notes["runbook"].partition("#")
    assert anchor in {"", *anchors(ROOT / document)}


def test_every_alert_has_a_test() -> None:
    tests = yaml.safe_load(RULES_TEST.read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert {rule["alert"] for rule in ALERTS} == fired
