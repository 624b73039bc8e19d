"""The UI of `make dev` as a person sees it: the graph, an asset's page, Materialize, and nothing red anywhere."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from landmark_dag.settings.home import HomeSettings, write_home_settings
from tests.support.photos import write_photo_folder
from tests.support.processes import ROOT, Webserver, free_port, home_environment, program, running, wait_until

SCREENSHOTS = ROOT / "test-artifacts"
"""Screenshots for people; git ignores them."""

STAGES = ("photos", "cleaning", "training", "tuning", "embeddings", "ranking", "evaluation")


def new_home(folder: Path) -> Path:
    """Make a home as `make dev` does, for six photos in each split, of which nothing is materialized."""
    photos = write_photo_folder(folder / "photos")
    home = folder / "home"
    (home / "dagster").mkdir(parents=True)
    shutil.copy(ROOT / "landmark_dag/orchestration/dagster.yaml", home / "dagster")
    write_home_settings(home, HomeSettings(str(photos), "demo"))
    return home


@pytest.fixture(scope="module")
def dagster_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    folder = tmp_path_factory.mktemp("dagster_dev")
    server = Webserver(f"http://127.0.0.1:{free_port()}", folder / "dagster.log")
    command = [program("dagster"), "dev", "-w", "workspace.yaml"]
    command += ["--host", "127.0.0.1", "--port", server.url.rsplit(":")[-1]]
    with running(command, home_environment(new_home(folder)), server.log):
        wait_until(server.answers, "dagster dev to serve its code location")
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must show no error."""
    wrong: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(message.text)

    opened = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened.set_default_timeout(30_000)
    opened.on("console", hear)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("response", lambda response: wrong.append(response.url) if response.status >= 400 else None)
    yield opened
    opened.close()
    assert wrong == []


def keep_screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_the_code_location_loads_without_an_error(dagster_dev: Webserver) -> None:
    question = (
        "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"
    )
    entries = dagster_dev.ask(question)["workspaceOrError"]["locationEntries"]
    assert entries == [{"name": "landmark_dag", "locationOrLoadError": {"__typename": "RepositoryLocation"}}]


def test_the_graph_shows_every_stage(dagster_dev: Webserver, page: Page) -> None:
    page.goto(f"{dagster_dev.url}/asset-groups")
    for stage in STAGES:
        expect(page.get_by_role("button", name=stage).first).to_be_visible()
    page.get_by_text("ranking", exact=True).last.click()
    expect(page.get_by_text("inserted_ranking").first).to_be_visible()
    keep_screenshot(page, "asset_graph")


def test_a_click_on_materialize_succeeds_and_shows_the_metadata(dagster_dev: Webserver, page: Page) -> None:
    page.goto(f"{dagster_dev.url}/assets/index/photos")
    expect(page.get_by_text("Never materialized")).to_be_visible()
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="All", exact=True).click()
    keep_screenshot(page, "materialize")
    page.get_by_role("button", name="Launch 1 run").click()
    expect(page.get_by_text("Never materialized")).to_be_hidden(timeout=90_000)
    question = "{ runsOrError { ... on Runs { results { status } } } }"
    wait_until(lambda: dagster_dev.ask(question)["runsOrError"]["results"][0]["status"] == "SUCCESS", "a green run")
    page.reload()
    for shown in ("Latest check results", "Photos to be searched", "fingerprint", "unreadable photos", "landmarks"):
        expect(page.get_by_text(shown).first).to_be_visible()
    expect(page.get_by_role("cell", name="i0", exact=True)).to_be_visible()  # the first rows need no click
    keep_screenshot(page, "index_photos")
    page.goto(f"{dagster_dev.url}/runs")
    expect(page.get_by_text("Success").first).to_be_visible()
    keep_screenshot(page, "runs")
    coloured = re.compile(r"\x1b\[[0-9;]*m")
    printed = coloured.sub("", dagster_dev.log.read_text())
    assert [line for line in printed.splitlines() if " - ERROR - " in line or "Traceback" in line] == []


def test_an_asset_page_shows_owner_kinds_tags_columns_pool_and_source(dagster_dev: Webserver, page: Page) -> None:
    page.goto(f"{dagster_dev.url}/assets/knn_graph")
    page.get_by_role("button", name="Compute details").click()
    for shown in ("landmarks", "Parquet", "split: query", "similarity", "gpu", "Code version", "accelerator"):
        expect(page.get_by_text(shown, exact=False).first).to_be_visible()
    keep_screenshot(page, "knn_graph")
