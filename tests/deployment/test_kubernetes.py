"""The manifests for Kubernetes: valid against its schemas, safe, and in line with the code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from driftgauge.agent.delivery import build
from driftgauge.agent.gateway.status import GatewayHealth
from driftgauge.agent.gateway.status import routes as gateway_routes
from driftgauge.agent.outlets.health import Health, routes
from driftgauge.config.load import load_settings
from driftgauge.config.settings import Settings
from tests.deployment.files import DOCKERFILE, KUBERNETES, ROOT, check_command_line, is_pinned, kustomized

FOLDERS = [KUBERNETES / "base", KUBERNETES / "example"]
VERSIONS = ["1.29", kubernetes_validate.latest_version()]
OPERATORS: Mapping[str, type[BaseModel]] = {
    "PodMonitor": prometheus_operator.PodMonitor,
    "ScaledObject": keda.ScaledObject,
    "ServiceMonitor": prometheus_operator.ServiceMonitor,
    "TriggerAuthentication": keda.TriggerAuthentication,
}
"""Kinds that the schemas of Kubernetes do not have, with models of their definitions."""
UNLIMITED = {"cpu"}  # a limit of CPU only slows down

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """A container of the example, its pod, and what is around it."""

    container: Object
    pod: Object
    labels: Mapping[str, str]

    @property
    def name(self) -> str:
        return str(self.container["name"])

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    @property
    def environment(self) -> dict[str, str]:
        return {variable["name"]: variable["value"] for variable in self.container["env"]}


def places() -> Iterator[Place]:
    for one in kustomized(KUBERNETES / "example"):
        if template := one.get("spec", {}).get("template"):
            for container in template["spec"]["containers"]:
                yield Place(container, template["spec"], template["metadata"]["labels"])


PLACES = {place.name: place for place in places()}
each = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)


def found(kind: str, folder: Path = KUBERNETES / "example") -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in kustomized(folder) if one["kind"] == kind}


def settings_of(place: Place, folder: Path, tmp_path: Path) -> Settings:
    """The settings of a container: the file of the ConfigMap and its environment."""
    (data,) = [one["data"] for one in found("ConfigMap", folder).values()]
    file = tmp_path / "driftgauge.yaml"
    file.write_text(data["driftgauge.yaml"])
    mounts = {mount["name"]: mount["mountPath"] for mount in place.container["volumeMounts"]}
    assert place.environment["DRIFTGAUGE_CONFIG"] == f"{mounts['settings']}/{file.name}"
    with pytest.MonkeyPatch.context() as variables:
        for name, value in place.environment.items():
            variables.setenv(name, value)
        return load_settings(file)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_kubernetes_has_every_field(folder: Path, version: str) -> None:
    for one in kustomized(folder):
        if one["kind"] in OPERATORS:
            OPERATORS[one["kind"]].model_validate(one, extra="forbid")
        else:
            kubernetes_validate.validate(dict(one), version, strict=True)


def test_no_folder_of_manifests_is_left_out() -> None:
    example = yaml.safe_load((KUBERNETES / "example" / "kustomization.yaml").read_text())
    used = {(KUBERNETES / "example" / name).resolve() for name in example["components"]}
    assert used == {folder for folder in (KUBERNETES / "components").iterdir() if folder.is_dir()}
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        text = kustomization.read_text()
        others = {path.name for path in kustomization.parent.iterdir()} - {kustomization.name}
        assert all(name in text for name in others), kustomization


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_everything_is_in_the_namespace_that_admits_restricted_pods_only(folder: Path) -> None:
    ((name, namespace),) = found("Namespace", folder).items()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [one for one in kustomized(folder) if one["kind"] != "Namespace"]
    assert {one["metadata"].get("namespace") for one in others} == {name}


@each
def test_a_container_has_no_rights_that_it_does_not_need(place: Place) -> None:
    pod, own = place.pod["securityContext"], place.container["securityContext"]
    assert pod["runAsNonRoot"]
    assert f"USER {pod['runAsUser']}:{pod['runAsGroup']}\n" in DOCKERFILE.read_text()
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert place.pod["automountServiceAccountToken"] is False
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert place.container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert place.container["resources"]["limits"].keys() == {"cpu", "memory"} - UNLIMITED


@each
def test_a_container_runs_a_command_of_a_pinned_image(place: Place) -> None:
    check_command_line(place.container["args"])
    assert is_pinned(place.container["image"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@each
def test_driftgauge_takes_the_settings(place: Place, folder: Path, tmp_path: Path) -> None:
    settings = settings_of(place, folder, tmp_path)
    assert settings.server.host == "0.0.0.0"
    ports = {
        "agent": {"http": settings.server.port},
        "deliver": {"deliver": settings.delivery.status_port},
        "extract": {"status": settings.extract.status_port},
        "gateway": {"proxy": settings.gateway.port, "status": settings.gateway.status_port},
    }
    assert place.ports == ports[place.name]
    assert place.name != "gateway" or settings.gateway.host == "0.0.0.0"


def test_the_receivers_of_the_example_can_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = settings_of(PLACES["deliver"], KUBERNETES / "example", tmp_path)
    monkeypatch.setenv("SLACK_URL", "https://hooks.example.com/a")
    monkeypatch.setenv("PAGERDUTY_KEY", "key")
    assert build.receivers(settings.delivery).keys() == settings.delivery.sinks.keys()


@each
def test_probes_ask_pages_that_there_are(place: Place) -> None:
    served = {
        "agent": routes(Health(), CollectorRegistry()),
        "extract": routes(Health(), CollectorRegistry()),
        "deliver": ("/healthz", "/readyz"),  # tests/delivery/test_deliver.py
        "gateway": gateway_routes(GatewayHealth(), CollectorRegistry()),
    }
    probes = {name: probe["httpGet"] for name, probe in place.container.items() if name.endswith("Probe")}
    assert probes.pop("livenessProbe")["path"] == "/healthz"
    for probe in probes.values():
        assert probe["path"] == "/readyz"
        assert probe["path"] in served[place.name]
        assert probe["port"] in place.ports


def test_what_is_kept_is_on_the_volume(tmp_path: Path) -> None:
    (agent,) = found("StatefulSet").values()
    assert agent["spec"]["replicas"] == 1
    (claim,) = agent["spec"]["volumeClaimTemplates"]
    for name in ("agent", "deliver"):
        mounts = {mount["name"]: mount["mountPath"] for mount in PLACES[name].container["volumeMounts"]}
        folder = mounts[claim["metadata"]["name"]]
        settings = settings_of(PLACES[name], KUBERNETES / "example", tmp_path)
        assert settings.store.url.get_secret_value().startswith(f"sqlite:///{folder}/")
        assert settings.report.folder.startswith(f"{folder}/")
    assert settings.delivery.cursors.parent.as_posix() == folder


def test_the_agent_reads_what_extractors_write(tmp_path: Path) -> None:
    example = KUBERNETES / "example"
    extractor = settings_of(PLACES["extract"], example, tmp_path)
    gateway = settings_of(PLACES["gateway"], example, tmp_path)
    agent = settings_of(PLACES["agent"], example, tmp_path)
    assert agent.kafka.topics.generations == (extractor.extract.to,)
    assert gateway.kafka.topics.generations[0] in extractor.extract.topics


def test_keda_looks_at_the_lag_of_the_extractors(tmp_path: Path) -> None:
    settings = settings_of(PLACES["extract"], KUBERNETES / "example", tmp_path)
    (scaled,) = found("ScaledObject").values()
    target = found("Deployment")[scaled["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in target["spec"]
    assert scaled["spec"]["maxReplicaCount"] == settings.kafka.partitions
    asked = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert tuple(one["topic"] for one in asked) == settings.extract.topics
    for one in asked:
        assert one["consumerGroup"] == settings.extract.group_id
        assert one["bootstrapServers"] == ",".join(settings.kafka.bootstrap_servers)
        assert one["sasl"] == settings.kafka.sasl_mechanism.lower().replace("sha-", "sha").replace("-", "_")
        assert (one["tls"] == "enable") == settings.kafka.security_protocol.endswith("SSL")
    (login,) = found("TriggerAuthentication").values()
    assert {key["key"] for key in login["spec"]["secretTargetRef"]} == {
        "DRIFTGAUGE_KAFKA__SASL_USERNAME",
        "DRIFTGAUGE_KAFKA__SASL_PASSWORD",
    }


def test_the_gateway_has_time_to_drain() -> None:
    gateway = PLACES["gateway"]
    _, pause_s = gateway.container["lifecycle"]["preStop"]["exec"]["command"]
    needed_s = int(pause_s) + Settings().gateway.drain_s
    assert gateway.pod["terminationGracePeriodSeconds"] > needed_s


def test_services_monitors_budgets_and_scalers_choose_pods_and_ports_that_there_are() -> None:
    pods = {place.labels["app.kubernetes.io/component"]: place.labels for place in PLACES.values()}
    services = found("Service").values()
    for service in services:
        component = service["spec"]["selector"]["app.kubernetes.io/component"]
        assert service["spec"]["selector"].items() <= pods[component].items()
        names = {name for p in PLACES.values() if p.labels == pods[component] for name in p.ports}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    (monitor,) = found("ServiceMonitor").values()
    chosen = [one for one in services if monitor["spec"]["selector"]["matchLabels"].items() <= _labels(one).items()]
    offered = {port["name"] for service in chosen for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= offered
    assert all(_name(service).startswith("driftgauge") for service in chosen)  # the job, which the rules look for
    (pod_monitor,) = found("PodMonitor").values()
    assert pod_monitor["spec"]["podMetricsEndpoints"][0]["port"] in PLACES["deliver"].ports
    for budget in found("PodDisruptionBudget").values():
        assert budget["spec"]["selector"]["matchLabels"] in pods.values()
    for scaler in found("HorizontalPodAutoscaler").values():
        target = found(scaler["spec"]["scaleTargetRef"]["kind"])[scaler["spec"]["scaleTargetRef"]["name"]]
        assert "replicas" not in target["spec"]


def test_policies_let_in_what_is_served_and_nothing_else() -> None:
    policies = found("NetworkPolicy").values()
    assert any(one["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} for one in policies)
    open_ports = {port["port"] for one in policies for rule in one["spec"].get("ingress", ()) for port in rule["ports"]}
    assert open_ports == {name for place in PLACES.values() for name in place.ports}


def test_policies_let_out_to_what_the_example_names(tmp_path: Path) -> None:
    settings = settings_of(PLACES["gateway"], KUBERNETES / "example", tmp_path)

    def is_allowed(component: str, port: int) -> bool:
        rules = [
            rule
            for one in found("NetworkPolicy").values()
            if _selects(one["spec"]["podSelector"], component)
            for rule in one["spec"].get("egress", ())
        ]
        ranges = [(p["port"], p.get("endPort", p["port"])) for rule in rules for p in rule["ports"]]
        return any(low <= port <= high for low, high in ranges)

    broker = int(settings.kafka.bootstrap_servers[0].rpartition(":")[2])
    model_server = int(settings.gateway.upstream.rpartition(":")[2])
    assert is_allowed("agent", broker)
    assert is_allowed("extract", broker)
    assert is_allowed("gateway", broker)
    assert is_allowed("gateway", model_server)
    assert is_allowed("agent", 443)  # Slack and PagerDuty, by delivery in the same pod
    assert is_allowed("agent", 53)
    assert not is_allowed("agent", model_server)


def test_the_rules_become_an_object_of_the_operator_as_the_document_says() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    (command,) = re.findall(r"^\$ (\(printf .*) \| kubectl apply --filename -$", text, re.MULTILINE)
    made = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    rule = yaml.safe_load(made)
    prometheus_operator.PrometheusRule.model_validate(rule, extra="forbid")
    assert rule["metadata"]["namespace"] in found("Namespace")
    assert rule["spec"] == yaml.safe_load((ROOT / "ops" / "prometheus" / "rules.yaml").read_text())


def _labels(one: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = one["metadata"]["labels"]
    return labels


def _name(one: Object) -> str:
    return str(one["metadata"]["name"])


def _selects(selector: Object, component: str) -> bool:
    key = "app.kubernetes.io/component"
    wanted = [selector["matchLabels"][key]] if "matchLabels" in selector else None
    for expression in selector.get("matchExpressions", ()):
        assert (expression["key"], expression["operator"]) == (key, "In")
        wanted = expression["values"]
    return wanted is None or component in wanted
