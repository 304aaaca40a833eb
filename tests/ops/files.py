"""The files for Prometheus and Grafana that the tests check."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "ops" / "prometheus" / "prometheus.yaml"
RULES = ROOT / "ops" / "prometheus" / "rules.yaml"
RULES_TEST = ROOT / "ops" / "prometheus" / "rules_test.yaml"
DASHBOARD = ROOT / "ops" / "grafana" / "driftgauge.json"
