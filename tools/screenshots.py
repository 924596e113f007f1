"""Takes the screenshots in docs/images of the demo's runs.

They show one search, that of examples/tuning.ipynb: its runs in the MLflow UI, and its report.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import browser
import mlflow
import notebooks
import server
from mlflow.entities import Run
from PIL import Image
from playwright.sync_api import Locator, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SETTLE_MS = 3000
EXPERIMENT = notebooks.EXPERIMENTS["tuning.ipynb"]
METRIC = "avg_weightedPrecision"
# Pixels of a page; a picture has more, so that its text stays sharp.
RUNS = ViewportSize(width=1120, height=640)
RUN = ViewportSize(width=1120, height=1000)
REPORT = ViewportSize(width=900, height=2000)
SCALE = 1.4
COLORS = 256
WIDTHS = {
    "attributes.`Run Name`": 228,
    "runDateAndNestInfo": 148,
    "duration": 80,
    "params.`maxDepth`": 88,
    "params.`maxBins`": 82,
    f"metrics.`{METRIC}`": 190,
    "tags.`trackmllib.best`": 119,
}
# Frames of other processes ignore the scale.
ARGS = [*browser.ARGS, "--disable-features=IsolateSandboxedIframes"]


def kept_state(experiment: str) -> str:
    """Return a script that sets the state of the page as a visitor's clicks would."""
    table = {
        "searchFilter": "",
        "orderByKey": f"metrics.`{METRIC}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": list(WIDTHS)[3:],
        "columnOrder": list(WIDTHS),
        "columnWidths": WIDTHS,
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


def open_page(page: Page, url: str, shown: str | re.Pattern[str]) -> None:
    """Open a page, and wait for the text ``shown`` and the rest of the page."""
    page.goto(url)
    # Addresses of this page differ only after the #, so opening one does not reload it.
    page.reload()
    page.get_by_text(shown).first.wait_for()
    page.get_by_label("Toggle sidebar").first.click()
    # The page polls the server, so the network is never idle.
    page.wait_for_timeout(SETTLE_MS)
    # The button of MLflow's assistant covers the page.
    page.add_style_tag(content="[data-assistant-ui] { display: none !important }")


def hide_row(page: Page, label: str) -> None:
    """Hide a row that says nothing to readers, such as one about this machine or its user."""
    page.get_by_text(label).last.evaluate("label => { label.parentElement.style.display = 'none' }")


def save(page: Page, name: str, *, above: Locator | None = None, margin: int = 0) -> None:
    """Save a picture of the page, or only of what is ``above`` an element, with few colors."""
    size = page.viewport_size
    assert size is not None
    height: float = size["height"]
    if above is not None:
        box = above.bounding_box()
        assert box is not None
        height = box["y"] - margin
    taken = page.screenshot(clip={"x": 0, "y": 0, "width": size["width"], "height": height})
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    print(f"docs/images/{name}")


def tuned_run() -> Run:
    """Return the parent run of the only search in examples/tuning.ipynb."""
    (run,) = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string="params.candidates != ''",
        output_format="list",
    )
    return run


def main() -> None:
    chrome = browser.executable()
    mlflow.set_tracking_uri(f"sqlite:///{server.DATABASE}")
    with server.running() as url, sync_playwright() as playwright:
        info = tuned_run().info
        run_page = f"{url}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
        runs_page = f"{url}/#/experiments/{info.experiment_id}/runs"

        IMAGES.mkdir(parents=True, exist_ok=True)
        chromium = playwright.chromium.launch(executable_path=chrome, args=ARGS)
        page = chromium.new_page(viewport=RUNS, device_scale_factor=SCALE)
        page.add_init_script(kept_state(info.experiment_id))
        open_page(page, f"{runs_page}?workflowType=machine_learning", "maxDepth=8")
        save(page, "nested-runs.png")

        page.set_viewport_size(RUN)
        open_page(page, run_page, re.compile(r"\d+ of \d+ fits"))
        page.get_by_text("Show more", exact=True).first.click()
        for label in ("Created by", "Logged models", "Registered prompts"):
            hide_row(page, label)
        save(page, "description.png", above=page.get_by_text("Metrics (").first, margin=24)

        open_page(page, f"{run_page}/artifacts/trackmllib/report.html", "report.html")
        hide_row(page, "Path:")
        further = page.frame_locator("iframe").locator("section:has(#h-further)")
        save(page, "artifact.png", above=further)

        page.set_viewport_size(REPORT)
        (report,) = server.DEMO.glob(f"artifacts/{info.run_id}/artifacts/trackmllib/report.html")
        page.goto(report.as_uri())
        save(page, "report.png", above=page.locator("section:has(#h-scores) + section"), margin=8)
        chromium.close()


if __name__ == "__main__":
    main()
