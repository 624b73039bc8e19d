"""The gallery: one self-contained HTML page of queries with their lists after each step, and a contact sheet."""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
from markupsafe import Markup
from PIL import Image, ImageDraw

from landmark_dag.evaluation.ground_truth import RetrievalGroundTruth
from landmark_dag.evaluation.retrieval_metrics import average_precisions
from landmark_dag.photos.reading import UnreadablePhoto, read_photo
from landmark_dag.retrieval.reranking.lists import REASONS
from landmark_dag.storage.atomic import replacing

PhotoKey = tuple[str, str]
"""A photo's split and image id: the same id may stand in two splits."""

STEP_LABELS = {"knn": "kNN", "sorted": "sort", "inserted": "insert"}
"""What the page calls the steps, in their order."""

_MOST_QUERIES = 1000
_MOST_RESULTS = 12
_RESULT_BYTES, _QUERY_BYTES = 30_000_000, 8_000_000
"""Bytes that all results' and all queries' thumbnails may take, so that the page stays under 60 MB."""

_RESULT_SIDE = 96
_QUERY_SIDE = 224
_PAGE = Path(__file__).with_name("gallery_page")


@dataclass(frozen=True)
class Result:
    """One photo of a list: why it stands there, its similarity if it has one, and whether it is right if known."""

    index_id: str
    reason: str
    similarity: float | None
    right: bool | None


@dataclass(frozen=True)
class GalleryQuery:
    """A query: the landmark voted for, its lists by step, and each list's AP (percent) where it is judged."""

    query_id: str
    landmark: str
    confidence: float | None
    lists: Mapping[str, Sequence[Result]]
    average_precision: Mapping[str, float] | None

    @property
    def gain(self) -> float:
        """AP after the last step minus AP after the first; 0 where the query is not judged."""
        if self.average_precision is None:
            return 0.0
        precisions = list(self.average_precision.values())
        return precisions[-1] - precisions[0]


@dataclass(frozen=True)
class Gallery:
    """What a page shows: queries, their photos' thumbnails (WebP), and mAP@100 (percent) by step if judged.

    `query_count` is the number of queries there are, of which `queries` may be a part.
    """

    queries: Sequence[GalleryQuery]
    query_count: int
    mean_average_precision: Mapping[str, float] | None
    thumbnails: Mapping[PhotoKey, bytes]


def build_gallery(
    lists: Mapping[str, pl.DataFrame],
    votes: pl.DataFrame,
    landmarks: Mapping[int, str],
    query_photos: pl.DataFrame,
    index_photos: pl.DataFrame,
    truth: RetrievalGroundTruth | None = None,
    *,
    threads: int = 2,
) -> Gallery:
    """Collect what the page shows.

    `lists` maps steps, in order, to schemas.NEIGHBOURS or schemas.RANKING; `votes` (schemas.VOTES) are the
    queries'; `landmarks` names landmark ids; the photos are schemas.MANIFEST. Of more than 1,000 queries those
    whose AP changed most are taken (without ground truth: the first by id). A list shows its first 12 photos.
    A photo that cannot be read has no thumbnail.
    """
    precisions = _precisions(lists, truth) if truth else {}
    queries = _chosen(lists, query_photos, precisions)
    shown = {step: _first(frame, queries) for step, frame in lists.items()}
    voted = {image_id: (landmark, confidence) for image_id, landmark, confidence in votes.rows()}
    right = set(truth.right.rows()) if truth else set()
    gallery_queries = []
    for query_id in queries:
        landmark, confidence = voted.get(query_id, (None, None))
        judged = precisions.get(query_id)
        rows = {
            step: [_result(query_id, row, right if judged else None) for row in frame.get(query_id, [])]
            for step, frame in shown.items()
        }
        name = "no vote" if landmark is None else landmarks.get(landmark, str(landmark))
        gallery_queries.append(GalleryQuery(query_id, name, confidence, rows, judged))
    wanted = {result.index_id for query in gallery_queries for rows in query.lists.values() for result in rows}
    thumbnails = _thumbnails("query", query_photos, set(queries), _QUERY_SIDE, _QUERY_BYTES, threads)
    thumbnails |= _thumbnails("index", index_photos, wanted, _RESULT_SIDE, _RESULT_BYTES, threads)
    means = {step: _mean([judged[step] for judged in precisions.values()]) for step in lists} if precisions else None
    count = pl.concat([query_photos["image_id"], *(frame["query_id"] for frame in lists.values())]).n_unique()
    return Gallery(gallery_queries, count, means, thumbnails)


def render_gallery(
    path: Path, gallery: Gallery, title: str = "Landmark gallery", pictures: Mapping[str, bytes] | None = None
) -> int:
    """Write the page to `path` and return its size in bytes.

    It holds everything: opened from disk, it fetches nothing, and its content policy forbids that it could.
    `pictures` maps captions to PNG bytes, shown below the queries.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    style, script = ((_PAGE / name).read_text() for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}"
    page = environment.get_template("page.html.jinja").render(
        title=title,
        lead=_lead(gallery),
        policy=policy + "; base-uri 'none'; form-action 'none'",
        style=Markup(style),
        script=Markup(script),
        headline=_headline(gallery),
        landmarks=sorted({query.landmark for query in gallery.queries}),
        pictures=[
            {"caption": caption, "data": base64.b64encode(png).decode()} for caption, png in (pictures or {}).items()
        ],
        data=_page_data(gallery),
    )
    encoded = page.encode()
    with replacing(path) as temporary:
        temporary.write_bytes(encoded)
    return len(encoded)


def contact_sheet(gallery: Gallery, queries: int = 3, limit: int = 200_000) -> bytes:
    """A PNG of at most `limit` bytes: the queries that gained most, each with its lists in aligned rows.

    Frames are grey for retrieved, blue for same landmark, orange for inserted; a red bar marks a wrong photo.
    """
    chosen = sorted(gallery.queries, key=lambda query: -query.gain)[:queries]
    while len(sheet := _sheet(gallery, chosen)) > limit and chosen:
        chosen = chosen[: min(len(chosen) - 1, len(chosen) * limit // len(sheet))]
    return sheet


def _precisions(lists: Mapping[str, pl.DataFrame], truth: RetrievalGroundTruth) -> dict[str, dict[str, float]]:
    """AP (percent) of every judged query, by query id and step."""
    precisions: dict[str, dict[str, float]] = {}
    for step, frame in lists.items():
        for query_id, precision in average_precisions(frame, truth).select("query_id", "average_precision").rows():
            precisions.setdefault(query_id, {})[step] = precision
    return precisions


def _chosen(
    lists: Mapping[str, pl.DataFrame], query_photos: pl.DataFrame, precisions: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Ids of the queries to show, ascending."""
    known = set(query_photos["image_id"]).union(*(frame["query_id"].unique() for frame in lists.values()))

    def change(query_id: str) -> float:
        steps = list(precisions.get(query_id, {}).values())
        return abs(steps[-1] - steps[0]) if steps else -1.0

    return sorted(sorted(known, key=lambda query_id: (-change(query_id), query_id))[:_MOST_QUERIES])


def _first(frame: pl.DataFrame, queries: Sequence[str]) -> dict[str, list[tuple[str, str, float | None]]]:
    """(index id, reason, similarity) of the first results of each query."""
    if "reason" not in frame.columns:
        frame = frame.with_columns(reason=pl.lit(REASONS[0]))
    wanted = frame.filter(pl.col("query_id").is_in(list(queries))).sort("query_id", "rank")
    wanted = wanted.group_by("query_id", maintain_order=True).head(_MOST_RESULTS)
    first: dict[str, list[tuple[str, str, float | None]]] = {}
    for query_id, index_id, reason, similarity in wanted.select("query_id", "index_id", "reason", "similarity").rows():
        first.setdefault(query_id, []).append((index_id, reason, similarity))
    return first


def _result(query_id: str, row: tuple[str, str, float | None], right: set[PhotoKey] | None) -> Result:
    index_id, reason, similarity = row
    return Result(index_id, reason, similarity, None if right is None else (query_id, index_id) in right)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _thumbnails(
    split: str, photos: pl.DataFrame, wanted: set[str], side: int, budget: int, threads: int
) -> dict[PhotoKey, bytes]:
    """WebP thumbnails of the wanted photos, at most `side` pixels long; unreadable ones are left out.

    All together take about `budget` bytes at most: where a photo would take more than its part, it is coarser.
    """
    places = photos.filter(pl.col("image_id").is_in(list(wanted))).select("image_id", "path", "offset", "size").rows()
    most = budget // max(1, len(places))

    def thumbnail(place: tuple[str, str, int, int]) -> tuple[PhotoKey, bytes | None]:
        image_id, path, offset, size = place
        try:
            return (split, image_id), _encoded(Image.fromarray(read_photo(path, offset, size, long_side=side)), most)
        except UnreadablePhoto:
            return (split, image_id), None

    with ThreadPoolExecutor(threads) as pool:
        return {key: data for key, data in pool.map(thumbnail, places) if data is not None}


def _encoded(image: Image.Image, most: int) -> bytes:
    """WebP of at most `most` bytes: coarser, then smaller, until it fits or is a quarter of its size."""
    for shrink, quality in ((1, 70), (1, 45), (1, 20), (2, 20), (4, 20)):
        encoded = io.BytesIO()
        image.reduce(shrink).save(encoded, "WEBP", quality=quality, method=3)
        if encoded.tell() <= most:
            break
    return encoded.getvalue()


def _source(text: str) -> str:
    """The content policy's name for an inline style or script: its SHA-256."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _lead(gallery: Gallery) -> str:
    shown, every = len(gallery.queries), gallery.query_count
    queries = (
        ("1 query" if every == 1 else f"{every:,} queries")
        if shown == every
        else f"{shown:,} of {every:,} queries, those that changed most"
    )
    return f"{queries}: what nearest neighbours find, then the sort-step, then the insert-step"


def _headline(gallery: Gallery) -> list[dict[str, Any]]:
    """mAP@100 by step, with the change from the step before."""
    scores: list[dict[str, Any]] = []
    for step, value in (gallery.mean_average_precision or {}).items():
        change = value - scores[-1]["value"] if scores else None
        scores.append({"label": f"mAP@100 {STEP_LABELS.get(step, step)}", "value": value, "change": change})
    return scores


def _page_data(gallery: Gallery) -> dict[str, Any]:
    """What the page's script reads; every photo stands once in `thumbnails` and is named by its place there."""
    places: dict[PhotoKey, int] = {}

    def place(key: PhotoKey) -> int:
        return places.setdefault(key, len(places))

    queries = [
        {
            "id": query.query_id,
            "photo": place(("query", query.query_id)),
            "landmark": query.landmark,
            "confidence": _rounded(query.confidence),
            "ap": [round(value, 2) for value in query.average_precision.values()] if query.average_precision else None,
            "rows": [
                [
                    [place(("index", r.index_id)), REASONS.index(r.reason), r.right, _rounded(r.similarity)]
                    for r in results
                ]
                for results in query.lists.values()
            ],
        }
        for query in gallery.queries
    ]
    return {
        "steps": [STEP_LABELS.get(step, step) for step in (gallery.queries[0].lists if gallery.queries else ())],
        "judged": gallery.mean_average_precision is not None,
        "queries": queries,
        "ids": [image_id for _, image_id in places],
        "thumbnails": [base64.b64encode(gallery.thumbnails.get(key, b"")).decode() for key in places],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _sheet(gallery: Gallery, queries: Sequence[GalleryQuery]) -> bytes:
    """PNG of the queries one below the other: the photo, and beside it a row of ten results for each step."""
    side, results, gap = 48, 10, 4
    steps = max((len(query.lists) for query in queries), default=1)
    block = steps * (side + gap) + gap
    size = (block + results * (side + gap) + gap, max(1, len(queries)) * (block + gap))
    sheet = Image.new("RGB", size, "white")
    for number, query in enumerate(queries):
        top = number * (block + gap) + gap
        _paste(sheet, gallery.thumbnails.get(("query", query.query_id)), gap, top, block - 2 * gap)
        for row, ranked in enumerate(query.lists.values()):
            for place, result in enumerate(ranked[:results]):
                x, y = block + place * (side + gap), top + row * (side + gap)
                _draw_result(sheet, result, gallery.thumbnails.get(("index", result.index_id)), x, y, side)
    encoded = io.BytesIO()
    sheet.quantize(160).save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


def _paste(sheet: Image.Image, thumbnail: bytes | None, x: int, y: int, side: int) -> None:
    """Put the middle square of a thumbnail at (x, y), or a grey square where there is none."""
    if thumbnail is None:
        ImageDraw.Draw(sheet).rectangle((x, y, x + side - 1, y + side - 1), "#ddd")
        return
    image = Image.open(io.BytesIO(thumbnail)).convert("RGB")
    width, height = image.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    sheet.paste(image.resize((side, side), Image.Resampling.LANCZOS, (left, top, left + edge, top + edge)), (x, y))


def _draw_result(sheet: Image.Image, result: Result, thumbnail: bytes | None, x: int, y: int, side: int) -> None:
    """A thumbnail framed by its reason, with a red bar below where it is wrong."""
    frame = dict(zip(REASONS, ("#b9bcc4", "#2f6fde", "#d9730d"), strict=True))[result.reason]
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x, y, x + side - 1, y + side - 1), frame)
    _paste(sheet, thumbnail, x + 2, y + 2, side - 4)
    if result.right is False:
        draw.rectangle((x + 2, y + side - 7, x + side - 3, y + side - 3), "#c9352b")
