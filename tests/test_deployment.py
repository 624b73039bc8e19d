"""The files of deploy/: read as Dagster reads them, rendered to the pods that it starts, and validated."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import (
    DagsterK8sJobConfig,
    construct_dagster_k8s_job,
    get_user_defined_k8s_config,
)
from kubernetes.client import ApiClient

from landmark_dag.definitions import defs

ROOT = Path(__file__).parents[1]
VALUES = yaml.safe_load((ROOT / "deploy/values.yaml").read_text())
DEPLOYMENT = VALUES["dagster-user-deployments"]["deployments"][0]
RUN_CONFIG = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
IMAGE = f"{DEPLOYMENT['image']['repository']}:{DEPLOYMENT['image']['tag']}".lower()


def container_context() -> K8sContainerContext:
    """Return what the chart gives every run: its code server's deployment and the launcher's settings."""
    config = {
        "env": DEPLOYMENT["env"],
        "env_secrets": [secret["name"] for secret in DEPLOYMENT["envSecrets"]],
        "image_pull_policy": DEPLOYMENT["image"]["pullPolicy"],
        "volumes": DEPLOYMENT["volumes"],
        "volume_mounts": DEPLOYMENT["volumeMounts"],
        "run_k8s_config": {"container_config": RUN_CONFIG["containerConfig"]},
    }
    return K8sContainerContext.create_from_config({"k8s": config})


def step_job(op_tags: dict[str, str]) -> dict[str, Any]:
    """Return the Kubernetes job of a step with these op tags, as k8s_job_executor makes it."""
    context = container_context().merge(K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(op_tags)))
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image=IMAGE, dagster_home=VALUES["global"]["dagsterHome"]),
        ["dagster", "api", "execute_step"],
        "dagster-step-of-a-test",
        user_defined_k8s_config=context.run_k8s_config,
    )
    return ApiClient().sanitize_for_serialization(job)


def assets() -> dict[str, tuple[bool, dict[str, str]]]:
    """Return whether each asset takes a slot of the GPU pool, and its op tags."""
    graph = defs().resolve_asset_graph()
    return {
        key.to_user_string(): ("gpu" in graph.get(key).pools, dict(graph.get(key).assets_def.op.tags))
        for key in graph.get_all_asset_keys()
    }


def test_steps_that_compute_on_the_accelerator_ask_for_a_gpu_and_no_others() -> None:
    asked = {}
    for name, (_, op_tags) in assets().items():
        container = step_job(op_tags)["spec"]["template"]["spec"]["containers"][0]
        asked[name] = container.get("resources", {}).get("limits", {}).get("nvidia.com/gpu")
    assert asked == {name: "1" if gpu else None for name, (gpu, _) in assets().items()}
    assert {"1", None} == set(asked.values())


def test_every_steps_job_is_valid_kubernetes_with_photos_bucket_and_shared_memory() -> None:
    for name, (_, op_tags) in assets().items():
        job = step_job(op_tags)
        kubernetes_validate.validate(job, "1.34", strict=True)
        container = job["spec"]["template"]["spec"]["containers"][0]
        paths = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/photos", "/dev/shm", "/home/landmark/work"} <= paths, name
        assert {"secretRef": {"name": "landmark-bucket"}} in container["envFrom"]
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert variables["LANDMARK_STORE"].startswith("s3://") and variables["LANDMARK_EXECUTOR"] == "k8s"


def test_an_invalid_kubernetes_job_fails_the_validation() -> None:
    job = step_job({})
    job["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limit": {"nvidia.com/gpu": "1"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.34", strict=True)


def test_the_code_server_loads_what_the_workspace_loads() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    arguments = DEPLOYMENT["dagsterApiGrpcArgs"]
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert given == {"--module-name": workspace["module_name"], "--location-name": workspace["location_name"]}


def test_the_values_hold_no_credentials() -> None:
    text = (ROOT / "deploy/values.yaml").read_text()
    assert not [line for line in text.splitlines() if "password" in line.lower()]
    assert "AWS" not in {variable["name"].split("_")[0] for variable in DEPLOYMENT["env"]}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_images_build_steps_install_the_wheel_and_load_every_asset(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    copied = [line.split()[1:-1] for line in (ROOT / "deploy/Dockerfile").read_text().splitlines() if "COPY" in line]
    for name in (name for names in copied for name in names):
        (source / name).parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-r", str(ROOT / name), str(source / name)], check=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(source / "deploy/build-steps.sh"), str(source), str(tmp_path / "venv"), "k8s,postgres,s3"],
        env={**os.environ, "PATH": path},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{len(assets())} assets load" in done.stdout
