"""A page in which every text is an attack shows them as text, runs nothing and loads nothing."""

import io
import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from landmark_dag.reports.gallery import Gallery, GalleryQuery, Result, render_gallery

ATTACKS = [
    "<script>window.attacked = 1; alert(1)</script>",
    "</script><script>window.attacked = 1</script>",
    '"><img src="https://elsewhere.example/x.png" onerror="window.attacked = 1">',
    "<!--<script>window.attacked = 1",
    "javascript:window.attacked=1",
    "{{ 7 * 7 }} ${7 * 7} &lt;b&gt; \u2028 \u202e\0",
    "<style>body { background: url(https://elsewhere.example/y.png) }</style>",
]


def picture() -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(encoded, "WEBP")
    return encoded.getvalue()


def test_landmark_names_ids_titles_and_captions_with_scripts_stay_text(tmp_path: Path, browser: Browser) -> None:
    queries = [
        GalleryQuery(
            f"{attack} query", attack, 0.5, {"knn": [Result(attack, "retrieved", 0.5, True)], "inserted": []}, None
        )
        for attack in ATTACKS
    ]
    thumbnails = {("index", attack): picture() for attack in ATTACKS}
    thumbnails |= {("query", f"{attack} query"): picture() for attack in ATTACKS}
    gallery = Gallery(queries, len(queries), None, thumbnails)
    render_gallery(tmp_path / "page.html", gallery, ATTACKS[1], dict.fromkeys(ATTACKS, b"\x89PNG"))
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector("article img")
    for article in page.locator("article").all():
        article.scroll_into_view_if_needed()
        article.locator("h2").wait_for()
    shown = page.eval_on_selector_all("article h2", "titles => titles.map(title => title.textContent)")
    assert sorted(shown) == sorted(attack.replace("\0", shown_nul(shown)) for attack in ATTACKS)
    assert page.evaluate("window.attacked") is None
    assert page.title() and page.locator("h1").inner_text() == ATTACKS[1]
    assert page.locator("article script, article style, article iframe, img[onerror]").count() == 0
    assert complaints == []
    policy = page.get_attribute('meta[http-equiv="Content-Security-Policy"]', "content") or ""
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy and "http" not in policy
    page.close()


def shown_nul(shown: list[str]) -> str:
    """Return what the browser shows for a NUL."""
    return "\0" if any("\0" in text for text in shown) else "\ufffd"


def test_the_page_loads_nothing_from_any_address(tmp_path: Path) -> None:
    render_gallery(tmp_path / "page.html", Gallery([], 0, None, {}))
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"(?:src|href|action|url)\s*[=(]\s*[\"']?(?:https?:)?//", page)
