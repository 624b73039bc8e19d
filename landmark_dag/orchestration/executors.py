"""Where steps run: in the run's own process, as Ray jobs or as Kubernetes jobs. LANDMARK_EXECUTOR chooses."""

import os
from collections.abc import Callable, Mapping

import dagster as dg

from landmark_dag.errors import InputError
from landmark_dag.orchestration.code_version import CODE_VARIABLE, installed_code_version

EXECUTOR_VARIABLE = "LANDMARK_EXECUTOR"
SHARDS_VARIABLE = "LANDMARK_SHARDS_PER_RUN"
"""Environment variables: the executor (local, ray or k8s), and the shards of one run of a backfill on a cluster."""

_PASSED_ON = ("DAGSTER_HOME", "LANDMARK_HOME", "LANDMARK_STORE", "LANDMARK_PHOTOS", "LANDMARK_DEVICE")
"""Environment variables that Ray steps receive from this process; every machine has its own credentials."""


def step_executor() -> dg.ExecutorDefinition:
    """Return the executor that LANDMARK_EXECUTOR names, by default the one in the run's own process.

    Raises InputError for an unknown name, and if the package that a cluster needs is not installed.
    """
    name = _chosen()
    try:
        return _EXECUTORS[name]()
    except ImportError as error:
        raise InputError(
            f"{EXECUTOR_VARIABLE} is {name}, and {error.name} is not installed; install landmark-dag[{name}]."
        ) from error


def backfill_policy() -> dg.BackfillPolicy:
    """Return how a backfill splits into runs: one on this machine, one for LANDMARK_SHARDS_PER_RUN shards on a cluster.

    The shards of one run are one step, so a backfill spreads over machines only as several runs; by default one for
    each shard. Raises InputError if LANDMARK_SHARDS_PER_RUN is not a whole number from 1.
    """
    if _chosen() == "local":
        return dg.BackfillPolicy.single_run()
    text = os.environ.get(SHARDS_VARIABLE) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{SHARDS_VARIABLE} is {text!r}; it must be a whole number from 1.")
    return dg.BackfillPolicy.multi_run(int(text))


def _chosen() -> str:
    name = os.environ.get(EXECUTOR_VARIABLE) or "local"
    if name not in _EXECUTORS:
        raise InputError(f"{EXECUTOR_VARIABLE} is {name!r}; choose one of {', '.join(_EXECUTORS)}.")
    return name


def _local() -> dg.ExecutorDefinition:
    # A run's steps run one after another, so a process for each would only add 3 s of imports.
    return dg.in_process_executor


def _ray() -> dg.ExecutorDefinition:
    """Each step is a Ray job with one CPU; op tags request GPUs. RAY_ADDRESS names the cluster."""
    from dagster_ray import ray_executor

    passed = {name: value for name in _PASSED_ON if (value := os.environ.get(name))}
    passed[CODE_VARIABLE] = installed_code_version()
    variables = [f"{name}={value}" for name, value in passed.items()]
    return ray_executor.configured({"ray": {"num_cpus": 1, "env_vars": variables}})


def _k8s() -> dg.ExecutorDefinition:
    """Each step is a pod with the run's image and environment; op tags request GPUs."""
    from dagster_k8s import k8s_job_executor

    return k8s_job_executor.configured({"env_vars": [f"{CODE_VARIABLE}={installed_code_version()}"]})


_EXECUTORS: Mapping[str, Callable[[], dg.ExecutorDefinition]] = {"local": _local, "ray": _ray, "k8s": _k8s}
