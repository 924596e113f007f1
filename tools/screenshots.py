"""Makes the pictures in docs/images: MLflow's page on the runs that make demo recorded."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import browser
import mlflow
import pandas as pd
import server
from playwright.sync_api import Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SETTLE_MS = 3000
SIZE = ViewportSize(width=1400, height=900)
WIDTHS = {
    "attributes.`Run Name`": 280,
    "runDateAndNestInfo": 150,
    "duration": 90,
    "params.`maxDepth`": 100,
    "params.`maxBins`": 100,
    "metrics.`avg_weightedPrecision`": 180,
    "tags.`trackmllib.best`": 130,
}


def kept_state(experiment: str, expanded: str) -> str:
    """A script that gives the page the state which a visitor's clicks would leave in it."""
    table = {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": list(WIDTHS)[3:],
        "columnOrder": list(WIDTHS),
        "columnWidths": WIDTHS,
        "runsExpanded": {expanded: True},
        "viewMaximized": True,
        "autoRefreshEnabled": False,
    }
    page = f'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState'
    state = {
        page: json.dumps(table),
        "mlflow.workflowType_v1": '"machine_learning"',
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
        "mlflow.assistant.panelOpen_v1": "false",
    }
    return f"for (const [k, v] of Object.entries({json.dumps(state)})) localStorage.setItem(k, v);"


def open_page(page: Page, url: str, shown: str) -> None:
    """Go to a page; wait for the text ``shown``, and a little longer for the rest."""
    page.goto(url)
    # Addresses of this page differ only after the #, which alone loads nothing anew.
    page.reload()
    page.get_by_text(shown).first.wait_for()
    # The page asks the server again and again, so that the network is never idle.
    page.wait_for_timeout(SETTLE_MS)
    # The button of MLflow's assistant lies on top of everything.
    page.add_style_tag(content="[data-assistant-ui] { display: none !important }")


def save(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / name)
    print(f"docs/images/{name}")


def plot_averages(page: Page) -> None:
    """Let the comparison show the average, where MLflow takes the score of the last fold."""
    metrics = page.get_by_role("combobox").nth(1)
    metrics.click()
    for name in ("avg_weightedPrecision", "weightedPrecision"):
        page.locator(".du-bois-light-select-item-option").get_by_text(name, exact=True).click()
    page.keyboard.press("Escape")
    page.wait_for_timeout(SETTLE_MS)


def main() -> None:
    chrome = browser.executable()
    with server.running() as url, sync_playwright() as playwright:
        mlflow.set_tracking_uri(f"sqlite:///{server.DATABASE}")
        runs = mlflow.search_runs(search_all_experiments=True, order_by=["start_time ASC"])
        assert isinstance(runs, pd.DataFrame)
        candidates = runs[runs["tags.trackmllib.candidate"].notna()]
        first = candidates.iloc[0]
        parent, experiment = first["tags.mlflow.parentRunId"], first["experiment_id"]
        same_search = candidates["tags.trackmllib.search_id"] == first["tags.trackmllib.search_id"]
        children = candidates[same_search]["run_id"].tolist()

        table = f"{url}/#/experiments/{experiment}/runs?workflowType=machine_learning"
        search = quote('params.maxBins = "8"')
        runs_asked, experiments_asked = (quote(json.dumps(x)) for x in (children, [experiment]))
        compare = f"{url}/#/compare-runs?runs={runs_asked}&experiments={experiments_asked}"

        IMAGES.mkdir(parents=True, exist_ok=True)
        chromium = playwright.chromium.launch(executable_path=chrome, args=browser.ARGS)
        page = chromium.new_page(viewport=SIZE)
        page.add_init_script(kept_state(experiment, parent))
        open_page(page, table, "maxDepth=8")
        save(page, "nested-runs.png")
        open_page(page, f"{table}&searchFilter={search}", "maxDepth=12")
        save(page, "search-box.png")
        open_page(page, compare, "Parallel Coordinates")
        plot_averages(page)
        save(page, "compare-children.png")
        chromium.close()


if __name__ == "__main__":
    main()
