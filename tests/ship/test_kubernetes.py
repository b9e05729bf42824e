"""The files of `deploy --kubernetes`: validated offline against the schemas of Kubernetes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import jsonschema
import kubernetes_validate
import pytest
import yaml
from forge_min.errors import BuildError
from forge_min.ship import deploy

VERSION = "1.30"
BASE, PRODUCTION = Path("kubernetes/base"), Path("kubernetes/overlays/production")
CUSTOM = json.loads(Path(__file__).with_name("custom_resources.json").read_text())
LIMITS = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
"""The restricted standard of Kubernetes, for a pod."""


@pytest.fixture
def deployed(project: Path) -> Path:
    deploy(project, also=["kubernetes"])
    return project


def built(folder: Path) -> list[dict[str, Any]]:
    """The objects of a folder, as kustomize builds them."""
    for command in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return list(yaml.safe_load_all(done.stdout))
    pytest.skip("no kubectl (Debian: kubectl) and no kustomize")


def test_every_object_fits_its_schema(deployed: Path) -> None:
    objects = built(deployed / PRODUCTION)
    kinds = Counter(each["kind"] for each in objects)
    assert kinds == {
        "Deployment": 2, "Service": 2, "Job": 1, "PodDisruptionBudget": 1, "NetworkPolicy": 1,
        "HorizontalPodAutoscaler": 1, "ServiceMonitor": 1, "ScaledObject": 1,
    }  # fmt: skip
    for each in objects:
        assert each["metadata"]["namespace"] == "departures"
        if schema := CUSTOM.get(each["kind"]):
            jsonschema.validate(each, schema)
        else:
            kubernetes_validate.validate(each, VERSION, strict=True)


def test_a_copied_overlay_and_another_ready_path_are_used(project: Path) -> None:
    with (project / "forge.toml").open("a") as file:
        file.write('\n[server]\nready_path = "/ready"\n')
    deploy(project, also=["kubernetes", "haproxy"])
    assert "httpchk GET /ready\n" in (project / "haproxy" / "haproxy.cfg").read_text()
    staging = shutil.copytree(project / PRODUCTION, project / PRODUCTION.with_name("staging"))
    file = staging / "kustomization.yaml"
    file.write_text(file.read_text().replace("namespace: departures", "namespace: other"))
    objects = {(each["kind"], each["metadata"]["name"]): each for each in built(staging)}
    (trigger,) = objects["ScaledObject", "departures-worker"]["spec"]["triggers"]
    assert 'namespace="other"' in trigger["metadata"]["query"]
    (container,) = objects["Deployment", "departures-web"]["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


@pytest.mark.parametrize(
    ("line", "key", "also"),
    [
        ('[server]\nready_path = ""', "server.ready_path", "kubernetes"),
        ('[server]\nready_path = ""', "server.ready_path", "haproxy"),
        ("[admin]\nenabled = false", "admin.enabled", "kubernetes"),
    ],
)
def test_probes_of_what_is_turned_off_are_refused(
    project: Path, line: str, key: str, also: Literal["kubernetes", "haproxy"]
) -> None:
    with (project / "forge.toml").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(BuildError, match=f"need {key}, which") as caught:
        deploy(project, also=[also])
    assert caught.value.code == "F363" and not (project / "Dockerfile").exists()


def test_files_without_kustomize_fit_too(deployed: Path) -> None:
    for path in sorted((deployed / BASE).glob("[!k]*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            kubernetes_validate.validate(each, VERSION, strict=True)


def test_a_mistake_is_found(deployed: Path) -> None:
    text = (deployed / BASE / "web.yaml").read_text().replace("readinessProbe", "readyProbe")
    with pytest.raises(kubernetes_validate.ValidationError):
        for each in yaml.safe_load_all(text):
            kubernetes_validate.validate(each, VERSION, strict=True)


def test_pods_keep_the_restricted_standard_and_select_each_other(deployed: Path) -> None:
    objects = built(deployed / PRODUCTION)
    pods = {}
    for each in objects:
        if each["kind"] in ("Deployment", "Job"):
            pods[each["metadata"]["name"]] = each["spec"]["template"]
    assert pods.keys() == {"departures-web", "departures-worker", "departures-migrate"}
    for template in pods.values():
        spec = template["spec"]
        assert spec["securityContext"].items() >= LIMITS.items()
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            limits = container["securityContext"]
            assert limits["readOnlyRootFilesystem"] and not limits["allowPrivilegeEscalation"]
            assert limits["capabilities"] == {"drop": ["ALL"]}
            assert container["image"] == "registry.example/departures:0.1.0"
            for variable in container["env"]:
                assert "value" in variable or "secretKeyRef" in variable["valueFrom"]
    for each in objects:
        if each["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            spec = each["spec"]
            selector = spec.get("podSelector") or spec["selector"]
            labels = selector.get("matchLabels", selector)
            chosen = [t for t in pods.values() if labels.items() <= t["metadata"]["labels"].items()]
            assert chosen, each
