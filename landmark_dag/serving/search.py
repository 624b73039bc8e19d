"""Searching a home's index with photos of one's own: embed, find neighbours, vote, sort, insert."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from landmark_dag.errors import InputError
from landmark_dag.photos.reading import UnreadablePhoto
from landmark_dag.photos.source import PhotoLocation
from landmark_dag.retrieval.embedding import embed_photos
from landmark_dag.retrieval.neighbour_search import neighbour_table, train_neighbour_table
from landmark_dag.retrieval.reranking.inputs import RerankingInput
from landmark_dag.retrieval.reranking.methods import label_aware
from landmark_dag.retrieval.reranking.sort import sorted_ranking
from landmark_dag.retrieval.votes import votes_of
from landmark_dag.settings.home import is_home, read_home_settings, shared_location, store_folder
from landmark_dag.settings.profiles import Profile
from landmark_dag.settings.reranking import RerankingSettings
from landmark_dag.settings.retrieval import TrainNeighbourSettings
from landmark_dag.storage.embeddings import Embeddings, concatenate, read_embeddings
from landmark_dag.storage.parquet_tables import read_table
from landmark_dag.storage.schemas import CLEANED_DATASET, MANIFEST, TRAIN_NEIGHBOURS, VOTES, Table

if TYPE_CHECKING:
    from landmark_dag.reports.gallery import Gallery
    from landmark_dag.training.artifact import Model


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    `photos` (schemas.MANIFEST's image_id, path, offset, size) are those searched with, named by their paths; `lists`
    maps knn, sorted and inserted to schemas.NEIGHBOURS or RANKING; `votes` and `index_votes` are schemas.VOTES;
    `landmarks` names landmark ids; `index_photos` is the manifest of the photos listed.
    """

    photos: pl.DataFrame
    lists: dict[str, pl.DataFrame]
    votes: pl.DataFrame
    index_votes: pl.DataFrame
    landmarks: dict[int, str]
    index_photos: pl.DataFrame


_SHARDED = ("index/embeddings", "train/embeddings", "index/photos", "index/votes", "index/train_neighbours")
"""Assets with a file a shard that a search reads."""


def search_photos(home: Path, photos: Sequence[Path]) -> Found:
    """Search the index stored in `home` with `photos`, by the settings of the home, on the CPU.

    The search is exact. A photo given twice is searched once. Raises InputError for a photo that is missing or
    cannot be used, and for a home that is none or lacks a result.
    """
    locations = _locations(photos)
    store, profile = _store(home), read_home_settings(home).resolved_profile()
    _bring(home)
    index, train = (_embeddings(home, split) for split in ("index", "train"))
    try:
        queries = embed_photos(locations, _model(home), profile.embedding)
    except UnreadablePhoto as error:
        raise InputError(f"{error.__cause__ or error}; search with another photo.") from error
    cleaned = _table(home, store / "cleaned_dataset.parquet", CLEANED_DATASET)
    index_votes = _shards(home, "index/votes", VOTES)
    count = max(profile.votes.k, profile.train_neighbours.count)
    train_neighbours = train_neighbour_table(queries, train, cleaned, TrainNeighbourSettings(count))
    votes = votes_of(train_neighbours, profile.votes.k)
    knn = neighbour_table(queries, index, replace(profile.neighbours, search="exact"))
    ordered = sorted_ranking(knn, votes, index_votes)
    inserted = _reranked(home, ordered, votes, index_votes, profile, train_neighbours)
    listed = pl.concat([knn["index_id"], inserted["index_id"]]).unique()
    named = pl.concat([votes["landmark_id"], index_votes["landmark_id"]]).unique()
    return Found(
        pl.DataFrame(
            [(place.image_id, place.path, place.offset, place.size) for place in locations],
            schema={name: MANIFEST.schema[name] for name in ("image_id", "path", "offset", "size")},
            orient="row",
        ),
        {"knn": knn, "sorted": ordered, "inserted": inserted},
        votes,
        index_votes,
        dict(_rows(store / "train/labels.parquet", "landmark_id", named, "landmark").unique().iter_rows()),
        _rows(store / "index/photos/*.parquet", "image_id", listed, "path", "offset", "size"),
    )


def search_summary(found: Found, top: int) -> list[dict[str, Any]]:
    """Return, for each photo, the landmark voted for and its first `top` results with their reasons."""
    paths = dict(found.index_photos.select("image_id", "path").iter_rows())
    votes = {image_id: (landmark, confidence) for image_id, landmark, confidence in found.votes.iter_rows()}
    index_votes = found.index_votes.filter(pl.col("image_id").is_in(list(paths)))
    index_landmarks = dict(index_votes.select("image_id", "landmark_id").iter_rows())
    results: dict[str, list[dict[str, Any]]] = {photo: [] for photo in found.photos["image_id"]}
    first = found.lists["inserted"].filter(pl.col("rank") <= top).sort("query_id", "rank")
    for query_id, rank, index_id, similarity, reason in first.iter_rows():
        landmark = index_landmarks[index_id]
        results[query_id].append(
            {
                "rank": rank,
                "index_id": index_id,
                "path": paths.get(index_id),
                "landmark": found.landmarks.get(landmark, str(landmark)),
                "similarity": similarity,
                "reason": reason,
            }
        )
    return [
        {
            "photo": photo,
            "landmark": found.landmarks.get(votes[photo][0], str(votes[photo][0])),
            "confidence": votes[photo][1],
            "results": of_photo,
        }
        for photo, of_photo in results.items()
    ]


def search_gallery(found: Found) -> "Gallery":
    """Return what a gallery page shows of a search: each photo with its lists after kNN, sort and insert."""
    from landmark_dag.reports.gallery import build_gallery

    return build_gallery(found.lists, found.votes, found.landmarks, found.photos, found.index_photos)


def _locations(photos: Sequence[Path]) -> list[PhotoLocation]:
    """Return where the photos' bytes lie, each path once; InputError for one that is no file."""
    if missing := [photo for photo in photos if not photo.is_file()]:
        raise InputError(f"{missing[0]} is no file; give the paths of photos to search with.")
    return [PhotoLocation(str(photo), str(photo), 0, photo.stat().st_size) for photo in dict.fromkeys(photos)]


def _store(home: Path) -> Path:
    """Return the folder of the home's results; InputError where there is none."""
    if not is_home(home):
        raise InputError(f"{home} is not a home folder; name the --home of a `landmark-dag run` or `demo`.")
    return store_folder(home)


def _bring(home: Path) -> None:
    """Bring what a search reads from the home's shared location, if it has one."""
    if location := shared_location(home):
        location.sync(["trained_model.json", "cleaned_dataset.parquet", "train/labels.parquet"])
        record = location.copies / "trained_model.json"
        folders = [json.loads(record.read_text(encoding="utf-8"))["folder"]] if record.exists() else []
        for folder in (*folders, *_SHARDED):
            location.sync_folder(folder)


def _lacking(home: Path, asset: str) -> InputError:
    return InputError(f"{home} holds no {asset} yet; finish `landmark-dag run` on it, then search.")


def _embeddings(home: Path, split: str) -> Embeddings:
    """Return the embeddings of all shards of a split; InputError where there are none."""
    paths = sorted((store_folder(home) / split / "embeddings").glob("*.arrow"))
    if not paths:
        raise _lacking(home, f"{split}/embeddings")
    return concatenate([read_embeddings(path) for path in paths])


def _table(home: Path, path: Path, table: Table) -> pl.DataFrame:
    if not path.exists():
        raise _lacking(home, table.name)
    return read_table(path, table)


def _shards(home: Path, asset: str, table: Table) -> pl.DataFrame:
    """Return the tables of all shards of an asset; InputError where there are none."""
    paths = sorted((store_folder(home) / asset).glob("*.parquet"))
    if not paths:
        raise _lacking(home, asset)
    return pl.concat([read_table(path, table) for path in paths])


def _rows(paths: Path, key: str, wanted: pl.Series, *columns: str) -> pl.DataFrame:
    """Return `key` and `columns` of the wanted rows of Parquet files."""
    return pl.scan_parquet(paths).select(key, *columns).filter(pl.col(key).is_in(wanted.implode())).collect()


def _model(home: Path) -> "Model":
    """Return the home's trained model; raises InputError where there is none."""
    from landmark_dag.training.artifact import load_model

    record = store_folder(home) / "trained_model.json"
    if not record.exists():
        raise _lacking(home, "trained_model")
    return load_model(store_folder(home) / json.loads(record.read_text(encoding="utf-8"))["folder"])


def _reranked(
    home: Path,
    ordered: pl.DataFrame,
    votes: pl.DataFrame,
    index_votes: pl.DataFrame,
    profile: Profile,
    train_neighbours: pl.DataFrame,
) -> pl.DataFrame:
    """Return the list after the home's way of re-ranking; see the asset inserted_ranking."""
    method, by_votes = label_aware(profile.insert.method)
    pair = None
    if not by_votes:
        pair = train_neighbours, _shards(home, "index/train_neighbours", TRAIN_NEIGHBOURS)
    photos = RerankingInput(votes=(votes, index_votes), train_neighbours=pair)
    return method.rerank(ordered, photos, RerankingSettings(insert=profile.insert, soft=profile.soft))
