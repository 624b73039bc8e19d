"""Where steps run: in the run's own process, as Ray jobs or as Kubernetes jobs; the environment says which."""

import os
from collections.abc import Callable, Mapping

import dagster as dg

from landmark_dag.errors import InputError
from landmark_dag.orchestration.code_version import CODE_VARIABLE, code_version_here

EXECUTOR_VARIABLE = "LANDMARK_EXECUTOR"
SHARDS_VARIABLE = "LANDMARK_SHARDS_PER_RUN"
"""Environment variables: local, ray or k8s; and how many shards one run of a backfill takes on a cluster."""

_PASSED_ON = ("DAGSTER_HOME", "LANDMARK_HOME", "LANDMARK_STORE", "LANDMARK_PHOTOS", "LANDMARK_DEVICE")
"""What a step on another machine is told of this process's environment; credentials are each machine's own."""


def step_executor() -> dg.ExecutorDefinition:
    """Return the executor that LANDMARK_EXECUTOR names, by default the run's own process.

    Raises InputError for a name that is none, and where what a cluster needs is not installed.
    """
    name = _chosen()
    try:
        return _EXECUTORS[name]()
    except ImportError as error:
        raise InputError(
            f"{EXECUTOR_VARIABLE} is {name}, and {error.name} is not installed; install landmark-dag[{name}]."
        ) from error


def backfill_policy() -> dg.BackfillPolicy:
    """Return how many shards one run takes: all on this machine, LANDMARK_SHARDS_PER_RUN (1) on a cluster.

    The shards of one run are one step; several runs are what spreads a backfill over machines.
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
    # A run's steps follow one another, so that processes of their own would only cost 3 s of imports each.
    return dg.in_process_executor


def _ray() -> dg.ExecutorDefinition:
    """Ray jobs of one CPU each, wherever one is free; a step's op tags ask for GPUs. RAY_ADDRESS names the cluster."""
    from dagster_ray import ray_executor

    told = {name: value for name in _PASSED_ON if (value := os.environ.get(name))}
    variables = [f"{name}={value}" for name, value in (told | {CODE_VARIABLE: code_version_here()}).items()]
    return ray_executor.configured({"ray": {"num_cpus": 1, "env_vars": variables}})


def _k8s() -> dg.ExecutorDefinition:
    """A pod for each step, like the run's own; a step's op tags ask for GPUs. Its environment is the deployment's."""
    from dagster_k8s import k8s_job_executor

    return k8s_job_executor.configured({"env_vars": [f"{CODE_VARIABLE}={code_version_here()}"]})


_EXECUTORS: Mapping[str, Callable[[], dg.ExecutorDefinition]] = {"local": _local, "ray": _ray, "k8s": _k8s}
