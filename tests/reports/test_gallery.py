import base64
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request

from landmark_dag.evaluation.ground_truth import RetrievalGroundTruth
from landmark_dag.reports.gallery import (
    _QUERY_BYTES,
    _RESULT_BYTES,
    Gallery,
    _encoded,
    build_gallery,
    contact_sheet,
    render_gallery,
)
from landmark_dag.reports.result_plots import retrieval_pictures
from landmark_dag.storage.schemas import MANIFEST, NEIGHBOURS, RANKING, VOTES

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"


def photo(folder: Path, image_id: str, seed: int) -> tuple[str, str, int, int, int, int, str]:
    folder.mkdir(exist_ok=True)
    path = folder / f"{image_id}.jpg"
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    if not path.exists():
        Image.fromarray(blocks).resize((160, 120)).save(path)
    return image_id, str(path), 0, path.stat().st_size, 160, 120, "0" * 32


def manifest(rows: list[tuple[str, str, int, int, int, int, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=MANIFEST.schema, orient="row")


def neighbours(lists: dict[str, list[str]]) -> pl.DataFrame:
    rows = [
        (query, rank, index_id, 1 - rank / 100) for query, ids in lists.items() for rank, index_id in enumerate(ids, 1)
    ]
    return pl.DataFrame(rows, schema=NEIGHBOURS.schema, orient="row")


def ranking(lists: dict[str, list[tuple[str, str]]]) -> pl.DataFrame:
    rows = [
        (query, rank, index_id, None if reason == "inserted" else 1 - rank / 100, reason)
        for query, ids in lists.items()
        for rank, (index_id, reason) in enumerate(ids, 1)
    ]
    return pl.DataFrame(rows, schema=RANKING.schema, orient="row")


def ground_truth(right: dict[str, list[str]], ignored: Iterable[str]) -> RetrievalGroundTruth:
    queries = [(query, "Public", len(ids)) for query, ids in sorted(right.items())]
    pairs = [(query, index_id) for query, ids in sorted(right.items()) for index_id in ids]
    return RetrievalGroundTruth(
        pl.DataFrame(queries, schema=["query_id", "usage", "expected"], orient="row"),
        pl.DataFrame(pairs, schema=["query_id", "index_id"], orient="row"),
        frozenset(ignored),
    )


def small_gallery(folder: Path, truth: bool = True, more: int = 0) -> Gallery:
    """Query `up` gains, `down` loses, `even` is not judged; `more` further queries change nothing."""
    index = [photo(folder / "index", f"i{number}", number) for number in range(8)]
    queries = [photo(folder / "query", query, 50 + i) for i, query in enumerate(["up", "down", "even"])]
    names = [f"more{number:04d}" for number in range(more)]
    queries += [(name, *queries[0][1:]) for name in names]
    plain = {name: ["i0", "i1"] for name in ["even", *names]}
    knn = neighbours({"up": ["i0", "i1", "i2"], "down": ["i3", "i0", "i4"], **plain})
    kept = {name: [("i0", "retrieved"), ("i1", "retrieved")] for name in plain}
    up = [("i1", "same landmark"), ("i0", "retrieved"), ("i2", "retrieved")]
    down = [("i0", "same landmark"), ("i3", "retrieved"), ("i4", "retrieved")]
    moved = ranking({"up": up, "down": down, **kept})
    inserted = ranking({"up": [up[0], ("i5", "inserted"), *up[1:]], "down": down, **kept})
    votes = pl.DataFrame(
        [("up", 1, 0.9), ("down", 2, 0.4), ("even", 1, 0.5), *((name, 3, 0.1) for name in names)],
        schema=VOTES.schema,
        orient="row",
    )
    return build_gallery(
        {"knn": knn, "sorted": moved, "inserted": inserted},
        votes,
        {1: "amber_palace", 2: HOSTILE, 3: "cedar_museum"},
        manifest(queries),
        manifest(index),
        ground_truth({"up": ["i1", "i5"], "down": ["i3"]}, plain) if truth else None,
    )


LISTS = {
    "knn": neighbours({"up": ["i0", "i1"], "down": ["i3"]}),
    "sorted": neighbours({"up": ["i1", "i0"], "down": ["i3"]}),
}


class Opened:
    """A gallery page in headless Chromium, and what it says or asks of anything but its own file."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", self._note)
        page.goto(path.as_uri())
        page.wait_for_selector("article img")

    def _note(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(request.url)

    def order(self) -> list[str]:
        """Ids of the queries, as they stand on the page."""
        labels = self.page.eval_on_selector_all("article", "cards => cards.map(card => card.ariaLabel)")
        return [label.removeprefix("query ").split(",")[0] for label in labels]

    def row(self, query: str, step: int) -> list[tuple[str, str, str]]:
        """(title, class, mark) of the results of one list."""
        items = self.page.locator(f'article[aria-label^="query {query},"] .row').nth(step).locator("li")
        return [
            (item.get_attribute("title") or "", item.get_attribute("class") or "", item.inner_text())
            for item in items.all()
        ]


Opener = Callable[..., Opened]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    pages: list[Page] = []

    def open_gallery(gallery: Gallery, title: str = "Gallery", pictures: dict[str, bytes] | None = None) -> Opened:
        render_gallery(tmp_path / "gallery.html", gallery, title, pictures)
        pages.append(browser.new_page(viewport={"width": 1280, "height": 700}))
        return Opened(pages[-1], tmp_path / "gallery.html")

    yield open_gallery
    for page in pages:
        page.close()


def test_the_page_shows_each_list_with_reasons_marks_and_precision(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path))
    assert [(title.split(" · ")[1], kind, mark) for title, kind, mark in shown.row("up", 2)] == [
        ("i1", "same yes", "✓"), ("i5", "inserted yes", "✓"), ("i0", "retrieved no", "✕"), ("i2", "retrieved no", "✕"),
    ]  # fmt: skip
    precisions = shown.page.locator('article[aria-label^="query up,"] .step strong').all_inner_texts()
    assert precisions == ["25.0", "50.0", "100.0"]
    assert shown.page.locator(".scores dd").all_inner_texts() == ["62.5", "50.0 -12.5", "75.0 +25.0"]
    assert shown.page.locator('article[aria-label^="query up,"] .gain').inner_text() == "+75.0"
    colours = shown.page.eval_on_selector_all(
        'article[aria-label^="query up,"] .row:nth-child(3) li',
        "items => items.map(i => getComputedStyle(i).borderTopColor)",
    )
    assert len(set(colours)) == 3
    assert shown.complaints == []


def test_queries_are_sorted_by_gain_loss_precision_and_id(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path))
    expected = {
        "gain": ["up", "down", "even"], "loss": ["down", "up", "even"], "best": ["up", "down", "even"],
        "worst": ["down", "up", "even"], "id": ["down", "even", "up"],
    }  # fmt: skip
    for value, order in expected.items():
        shown.page.select_option("#order", value)
        assert shown.order() == order, value
    assert shown.complaints == []


def test_the_filter_keeps_queries_of_a_landmark_and_says_when_there_are_none(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path))
    shown.page.fill("#landmark", "PALACE")
    assert shown.order() == ["up", "even"]
    assert shown.page.inner_text("#count") == "2 of 3 queries"
    shown.page.fill("#landmark", "lighthouse")
    assert shown.order() == [] and shown.page.is_visible("#none")
    shown.page.click("#clear")
    assert len(shown.order()) == 3 and shown.page.is_hidden("#none")
    assert shown.complaints == []


def test_names_from_outside_stay_text(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path), title=HOSTILE)
    assert shown.page.inner_text("h1") == HOSTILE
    assert HOSTILE in shown.page.locator("article h2").all_inner_texts()
    assert shown.page.locator("img[src=x]").count() == 0
    assert shown.complaints == []


def test_the_page_may_load_nothing_and_run_nothing_but_its_own(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path))
    shown.page.evaluate("""() => {
        const script = document.createElement("script"); script.textContent = "window.injected = 1";
        document.body.append(script);
    }""")
    assert shown.page.evaluate("window.injected") is None
    assert any("Content Security Policy" in text for text in shown.complaints)


def test_thumbnails_appear_only_when_a_query_comes_near_the_view(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path, more=60))
    last = shown.page.locator("article").last
    assert last.locator("img").count() == 0
    assert shown.page.locator("article:has(img)").count() < 20
    last.scroll_into_view_if_needed()
    last.locator("img").first.wait_for()
    assert last.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert shown.complaints == []


def test_j_and_k_go_from_query_to_query(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path))
    at = "document.activeElement.ariaLabel"
    shown.page.keyboard.press("j")
    assert shown.page.evaluate(at).startswith("query up")
    shown.page.keyboard.press("j")
    assert shown.page.evaluate(at).startswith("query down")
    shown.page.keyboard.press("k")
    assert shown.page.evaluate(at).startswith("query up")


def test_pointing_at_a_photo_marks_it_in_the_querys_other_lists(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path))
    shown.page.locator('article[aria-label^="query up,"] .row').first.locator("li").nth(1).hover()
    linked = shown.page.locator("li.linked")
    assert [title.split(" · ")[1] for title in linked.evaluate_all("items => items.map(i => i.title)")] == ["i1"] * 3


def test_without_ground_truth_nothing_is_marked_right_or_wrong(tmp_path: Path, opened: Opener) -> None:
    shown = opened(small_gallery(tmp_path, truth=False))
    assert shown.order() == ["down", "even", "up"]
    assert shown.page.locator(".scores, .gain, .row li b").count() == 0
    assert "right" not in shown.page.inner_text(".legend")
    assert shown.complaints == []


def test_plots_stand_below_the_queries(tmp_path: Path, opened: Opener) -> None:
    plot = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plot, "PNG")
    shown = opened(small_gallery(tmp_path), pictures={"Loss & gain": plot.getvalue()})
    assert shown.page.inner_text(".pictures figcaption") == "Loss & gain"
    assert shown.page.locator(".pictures img").evaluate("image => image.naturalWidth") == 8
    assert shown.complaints == []


def test_plots_of_the_results_are_one_click_away_from_a_thousand_queries(tmp_path: Path, opened: Opener) -> None:
    gallery = small_gallery(tmp_path, more=60)
    shown = opened(gallery, pictures=retrieval_pictures(LISTS, ground_truth({"up": ["i1"], "down": ["i3"]}, [])))
    captions = shown.page.locator(".pictures figcaption").all_inner_texts()
    assert len(captions) == 4 and "Precision at a recall, first 100 photos" in captions
    shown.page.click("text=Plots >> nth=0")
    shown.page.wait_for_function("document.getElementById('plots').getBoundingClientRect().top < innerHeight")
    for image in shown.page.locator(".pictures img").all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    assert shown.complaints == []


def test_without_plots_there_is_no_link_to_them(tmp_path: Path, opened: Opener) -> None:
    assert opened(small_gallery(tmp_path)).page.locator("a").count() == 0


def test_an_empty_gallery_is_a_page_too(tmp_path: Path, browser: Browser) -> None:
    empty = build_gallery({"knn": NEIGHBOURS.empty()}, VOTES.empty(), {}, MANIFEST.empty(), MANIFEST.empty())
    render_gallery(tmp_path / "empty.html", empty)
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "empty.html").as_uri())
    assert page.inner_text("#count") == "0 of 0 queries" and errors == []
    page.close()


def test_a_photo_that_cannot_be_read_leaves_a_blank_and_the_rest_stands(tmp_path: Path, opened: Opener) -> None:
    gallery = small_gallery(tmp_path)
    (tmp_path / "index" / "i1.jpg").write_bytes(b"not a photo at all")
    broken = small_gallery(tmp_path)
    assert set(gallery.thumbnails) - set(broken.thumbnails) == {("index", "i1")}
    shown = opened(broken)
    assert shown.page.locator('article[aria-label^="query up,"] .blank').count() == 3


def test_every_distinct_photo_is_stored_once(tmp_path: Path) -> None:
    render_gallery(tmp_path / "gallery.html", small_gallery(tmp_path))
    html = (tmp_path / "gallery.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    assert sorted(data["ids"]) == ["down", "even", "i0", "i1", "i2", "i3", "i4", "i5", "up"]
    for thumbnail in data["thumbnails"]:
        assert max(Image.open(io.BytesIO(base64.b64decode(thumbnail))).size) <= 224


def test_the_same_gallery_gives_the_same_bytes(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path)
    for name in ("a.html", "b.html"):
        render_gallery(tmp_path / name, gallery)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert contact_sheet(gallery) == contact_sheet(small_gallery(tmp_path))


def test_of_more_than_a_thousand_queries_those_that_changed_most_are_shown(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path, more=1100)
    assert len(gallery.queries) == 1000 and gallery.query_count == 1103
    assert {"up", "down"} <= {query.query_id for query in gallery.queries}
    assert render_gallery(tmp_path / "gallery.html", gallery) < 60_000_000
    assert "1,000 of 1,103 queries" in (tmp_path / "gallery.html").read_text()


def test_a_thousand_queries_of_noisy_photos_stay_under_60_megabytes() -> None:
    """The worst case: no photo is listed twice, and nothing in them compresses."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    coarse = len(_encoded(Image.fromarray(noise), _RESULT_BYTES // 36_000))
    large = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert (36_000 * coarse + 1000 * len(_encoded(Image.fromarray(large), _QUERY_BYTES // 1000))) * 4 / 3 < 58_000_000


def test_the_contact_sheet_is_a_small_png_that_frames_by_reason(tmp_path: Path) -> None:
    sheet = contact_sheet(small_gallery(tmp_path), queries=1)
    assert sheet.startswith(b"\x89PNG") and len(sheet) < 200_000
    colours = np.array(Image.open(io.BytesIO(sheet)).convert("RGB")).reshape(-1, 3)
    for frame in ((0xB9, 0xBC, 0xC4), (0x2F, 0x6F, 0xDE), (0xD9, 0x73, 0x0D)):
        assert np.abs(colours - np.array(frame)).max(axis=1).min() <= 6


def test_a_contact_sheet_leaves_queries_out_rather_than_grow_too_large(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path, more=20)
    assert len(contact_sheet(gallery, queries=20, limit=30_000)) <= 30_000
