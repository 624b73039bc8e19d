"""A code location of three GPU assets that report whether they ran at once, and the sensor that requests their runs."""

import os
import time
from pathlib import Path

import dagster as dg

from assets.steps import GPU

FOLDER = Path(os.environ["LANDMARK_HOME"])


def gpu_asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name, **GPU)
    def asset() -> dg.MaterializeResult:
        """Run until another such asset runs too, or patience is over; report whether one did."""
        running, meeting = FOLDER / "running", FOLDER / "meeting"
        (running / name).touch()
        deadline = time.monotonic() + float((FOLDER / "patience").read_text())
        while not meeting.exists() and time.monotonic() < deadline:
            if len(list(running.iterdir())) > 1:
                meeting.touch()
            time.sleep(0.05)
        (running / name).unlink()
        return dg.MaterializeResult(metadata={"met": meeting.exists()})

    return asset


JOBS = [
    dg.define_asset_job("two_in_one_run", selection=["first", "second"]),
    dg.define_asset_job("one_beside", selection=["third"]),
]


@dg.sensor(jobs=JOBS, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def requested(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Request one run of each job that the file `jobs` names."""
    named = (FOLDER / "jobs").read_text()
    if named == (context.cursor or ""):
        return dg.SkipReason("These runs were requested.")
    return dg.SensorResult(run_requests=[dg.RunRequest(job_name=job) for job in named.split()], cursor=named)


defs = dg.Definitions(
    assets=[gpu_asset(name) for name in ("first", "second", "third")],
    jobs=JOBS,
    sensors=[requested],
)
