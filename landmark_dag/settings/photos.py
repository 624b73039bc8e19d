"""Settings of the photo sources."""

from dataclasses import dataclass, field
from typing import Annotated

from landmark_dag.settings.definition import ABOVE_0, AT_LEAST_0, AT_LEAST_1, Settings, Unit


@dataclass(frozen=True)
class DownloadSettings(Settings, section="dataset.download"):
    """How files are fetched from a server."""

    connections: Annotated[int, "files fetched at the same time", AT_LEAST_1] = 4
    retries: Annotated[int, "failed attempts in a row, without one new byte, before giving up", AT_LEAST_0] = 8
    backoff_seconds: Annotated[
        float, "wait after the first failed attempt; it doubles with each further one", AT_LEAST_0, Unit("seconds")
    ] = 1.0
    longest_wait_seconds: Annotated[float, "longest wait between two attempts", AT_LEAST_0, Unit("seconds")] = 60.0
    timeout_seconds: Annotated[
        float, "silence of the server after which an attempt counts as failed", ABOVE_0, Unit("seconds")
    ] = 60.0


@dataclass(frozen=True)
class DatasetSettings(Settings, section="dataset"):
    """Which part of the Google Landmarks Dataset v2 (version 2.1) is used, and how it is fetched."""

    train_tars: Annotated[int, "TARs of the train split", AT_LEAST_1] = 500
    index_tars: Annotated[int, "TARs of the index split", AT_LEAST_1] = 100
    query_tars: Annotated[int, "TARs of the query split, which the dataset calls test", AT_LEAST_1] = 20
    train_tars_per_shard: Annotated[int, "TARs that make one train shard", AT_LEAST_1] = 10
    index_tars_per_shard: Annotated[int, "TARs that make one index shard", AT_LEAST_1] = 2
    query_tars_per_shard: Annotated[int, "TARs that make one query shard", AT_LEAST_1] = 1
    shards: Annotated[tuple[str, ...], "shards to use, such as train/000-009; none named: all of them"] = ()
    accepted_md5: Annotated[
        dict[str, str],
        "recorded md5 sums accepted instead of the published ones, by file: train/images_000.tar",
    ] = field(default_factory=dict)
    download: Annotated[DownloadSettings, "how the files are fetched"] = DownloadSettings()


@dataclass(frozen=True)
class Gldv2Settings(DatasetSettings):
    """The dataset's settings with its root, which is what `photos` names."""

    base_url: Annotated[str, "root of the dataset: https://, file://, s3:// or another fsspec root"] = (
        "https://s3.amazonaws.com/google-landmark"
    )
