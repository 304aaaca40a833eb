"""compose.yaml: its services fit together, take their settings, and have no rights that they do not need."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from driftgauge.agent.delivery import build
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from driftgauge.connectors.delivery.alertmanager import Alertmanager
from driftgauge.connectors.kafka.local_broker import KAFKA
from tests.debian import program
from tests.deployment.files import COMPOSE, ROOT, check_command_line, is_pinned, run
from tests.ops.files import CONFIGURATION, DASHBOARD, RULES

FILE = yaml.safe_load(COMPOSE.read_text())
SERVICES: Mapping[str, Mapping[str, Any]] = FILE["services"]
OURS = ("agent", "deliver", "gateway")
BROKER = SERVICES["kafka"]
VARIABLES = BROKER["environment"]
PROMETHEUS = CONFIGURATION.with_name("compose.yaml")
GRAFANA = DASHBOARD.parent / "provisioning"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Settings:
    """The settings of the service that is the parameter."""
    variables = SERVICES[request.param]["environment"]
    assert variables["DRIFTGAUGE_CONFIG"] == FILE["x-driftgauge"]["configs"][0]["target"]
    for name, value in variables.items():
        default = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        monkeypatch.setenv(name, default)
    return load_settings(ROOT / FILE["configs"]["driftgauge"]["file"])


def volumes(service: str) -> dict[str, str]:
    return dict(mount.split(":") for mount in SERVICES[service].get("volumes", ()))


def test_docker_compose_accepts_the_file() -> None:
    shown = json.loads(run("docker-compose", "--profile", "*", "config", "--format", "json"))
    assert shown["services"].keys() == SERVICES.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_has_no_rights_and_is_open_to_this_machine_alone(name: str) -> None:
    service = SERVICES[name]
    assert is_pinned(service["image"])
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service.get("read_only", False) or name == "kafka"  # its image writes settings at each start
    assert not re.search(r"(?i)(password|secret|token)[\w]*: *[\"']?\w", yaml.safe_dump(service.get("environment", {})))


@pytest.mark.parametrize(("name", "settings"), [(name, name) for name in OURS], indirect=["settings"])
def test_a_service_of_driftgauge_starts_with_its_settings(name: str, settings: Settings) -> None:
    service = SERVICES[name]
    check_command_line(service["command"])
    ports = {
        "agent": settings.server.port,
        "deliver": settings.delivery.status_port,
        "gateway": settings.gateway.status_port,
    }
    default = f"http://127.0.0.1:{Settings().server.port}/healthz"
    assert service["environment"].get("HEALTH_URL", default) == f"http://127.0.0.1:{ports[name]}/healthz"
    assert settings.server.host == settings.gateway.host == "0.0.0.0"
    published = {"agent": {settings.server.port}, "deliver": set[int](), "gateway": {settings.gateway.port}}
    assert {int(port.rpartition(":")[2]) for port in service.get("ports", ())} == published[name]


@pytest.mark.parametrize("settings", ["agent"], indirect=True)
def test_what_is_kept_is_on_the_volume(settings: Settings) -> None:
    folder = volumes("agent")["store"]
    assert volumes("deliver") == volumes("agent")
    assert settings.store.url.get_secret_value().startswith(f"sqlite:///{folder}/")
    assert settings.delivery.cursors.parent.as_posix() == folder
    assert settings.report.folder.startswith(f"{folder}/")


@pytest.mark.parametrize("settings", ["agent"], indirect=True)
def test_containers_and_programs_of_this_machine_find_the_broker(settings: Settings) -> None:
    advertised = dict(one.split("://") for one in VARIABLES["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert settings.kafka.bootstrap_servers == (advertised["CONTAINERS"],)
    assert Settings().kafka.bootstrap_servers == (advertised["PLAINTEXT"],)
    host, port = advertised["PLAINTEXT"].split(":")
    assert host == "localhost"
    assert BROKER["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert advertised["CONTAINERS"].partition(":")[0] in SERVICES


def test_the_listeners_of_the_broker_fit_together() -> None:
    listeners = dict(listener.split("://:") for listener in VARIABLES["KAFKA_LISTENERS"].split(","))
    protocols = dict(pair.split(":") for pair in VARIABLES["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert protocols.keys() == listeners.keys()
    assert VARIABLES["KAFKA_CONTROLLER_LISTENER_NAMES"] in listeners
    assert VARIABLES["KAFKA_INTER_BROKER_LISTENER_NAME"] in listeners
    for advertised in VARIABLES["KAFKA_ADVERTISED_LISTENERS"].split(","):
        name, address = advertised.split("://")
        assert listeners[name] == address.rpartition(":")[2]
    node, controller = VARIABLES["KAFKA_CONTROLLER_QUORUM_VOTERS"].split("@")
    assert int(node) == VARIABLES["KAFKA_NODE_ID"]
    assert listeners["CONTROLLER"] == controller.rpartition(":")[2]


def test_the_broker_has_the_version_of_the_tests_and_keeps_its_data_in_the_volume() -> None:
    assert BROKER["image"] == f"apache/kafka:{KAFKA.partition('+')[0].rpartition(':')[2]}"
    assert volumes("kafka") == {"kafka": VARIABLES["KAFKA_LOG_DIRS"]}


@pytest.mark.parametrize("settings", ["agent"], indirect=True)
def test_prometheus_scrapes_every_process(settings: Settings) -> None:
    jobs = {job["job_name"]: job for job in yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]}
    assert jobs["driftgauge"]["static_configs"] == [{"targets": [f"agent:{settings.server.port}"]}]
    assert jobs["driftgauge-deliver"]["static_configs"] == [{"targets": [f"deliver:{settings.delivery.status_port}"]}]
    gateway = {"names": ["gateway"], "type": "A", "port": settings.gateway.status_port}
    assert jobs["driftgauge-gateway"]["dns_sd_configs"] == [gateway]
    assert len(jobs) == len(OURS)


@pytest.mark.parametrize("settings", ["deliver"], indirect=True)
def test_each_alert_reaches_the_alertmanager_once(settings: Settings) -> None:
    (sink,) = build.receivers(settings.delivery).values()
    assert isinstance(sink, Alertmanager)
    assert settings.delivery.allow_private  # names of containers lead to private addresses
    alerting = yaml.safe_load(PROMETHEUS.read_text())["alerting"]
    (target,) = alerting["alertmanagers"][0]["static_configs"][0]["targets"]
    assert settings.delivery.sinks["alertmanager"].url == f"http://{target}"
    (dropped,) = alerting["alert_relabel_configs"]
    groups = {group["name"]: group["rules"] for group in yaml.safe_load(RULES.read_text())["groups"]}
    about_domains = {rule["alert"] for rule in groups["driftgauge-accuracy"]}
    assert {*dropped["regex"].split("|")} == about_domains - {"DriftgaugeNoEstimate"}  # which no alert of the agent is


def test_grafana_shows_the_dashboard_from_prometheus() -> None:
    (source,) = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    targets = {config["source"]: config["target"] for config in SERVICES["grafana"]["configs"]}
    (provider,) = yaml.safe_load((GRAFANA / "dashboards" / "driftgauge.yaml").read_text())["providers"]
    assert targets["grafana_dashboard"].startswith(provider["options"]["path"])
    assert FILE["configs"]["grafana_dashboard"]["file"] == DASHBOARD.relative_to(ROOT).as_posix()
    assert f"@grafana/schema@{SERVICES['grafana']['image'].rpartition(':')[2]} " in (ROOT / "Makefile").read_text()


def test_every_file_that_is_mounted_is_there() -> None:
    used = {config["source"] for service in SERVICES.values() for config in service.get("configs", ())}
    assert used == FILE["configs"].keys()
    assert all((ROOT / config["file"]).is_file() for config in FILE["configs"].values())


@pytest.mark.prometheus
def test_promtool_accepts_the_configuration_of_prometheus() -> None:
    command = [program("promtool", "prometheus"), "check", "config", str(PROMETHEUS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.alertmanager
def test_amtool_accepts_the_configuration_of_alertmanager() -> None:
    file = ROOT / "ops" / "alertmanager" / "alertmanager.yaml"
    command = [program("amtool", "prometheus-alertmanager"), "check-config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
