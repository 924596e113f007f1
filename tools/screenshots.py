"""Takes the screenshots in docs/images of the demo's runs.

They show the MLflow UI, the report, and the table in a terminal.
"""

from __future__ import annotations

import html
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

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
    """Return a script that sets the state of the page as a visitor's clicks would."""
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
    """Open a page, and wait for the text ``shown`` and the rest of the page."""
    page.goto(url)
    # Addresses of this page differ only after the #, so opening one does not reload it.
    page.reload()
    page.get_by_text(shown).first.wait_for()
    # The page polls the server, so the network is never idle.
    page.wait_for_timeout(SETTLE_MS)
    # The button of MLflow's assistant covers the page.
    page.add_style_tag(content="[data-assistant-ui] { display: none !important }")


def save(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / name)
    print(f"docs/images/{name}")


def in_terminal(columns: int, *words: str) -> str:
    """Return the output of a trackmllib command on a terminal of this width."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "trackmllib", *words],
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    # Reading from a closed terminal is an error on Linux and returns nothing on macOS.
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        output += part
    process.wait()
    return output.decode().replace("\r\n", "\n")


def terminal_page(command: str, output: str) -> str:
    """Return a page that looks like a terminal with this command and output."""
    styles = {"1": "font-weight: bold", "2": "opacity: 0.6", "32": "color: #7ee787"}

    def span(found: re.Match[str]) -> str:
        codes = [styles[code] for code in re.findall(r"\d+", found[0]) if code in styles]
        return f'</span><span style="{"; ".join(codes)}">'

    text = re.sub(r"(?:\x1b\[[\d;]*m)+", span, html.escape(output))
    return f"""<body style="margin: 0; background: #0d1117; color: #e6edf3">
    <pre style="display: inline-block; margin: 0; padding: 24px; font: 15px/1.45 'DejaVu Sans Mono'"
    ><span style="opacity: 0.6">$ </span>{html.escape(command)}\n<span>{text}</span></pre></body>"""


def main() -> None:
    chrome = browser.executable()
    with server.running() as url, sync_playwright() as playwright:
        mlflow.set_tracking_uri(f"sqlite:///{server.DATABASE}")
        runs = mlflow.search_runs(search_all_experiments=True, order_by=["start_time ASC"])
        assert isinstance(runs, pd.DataFrame)
        candidates = runs[runs["tags.trackmllib.candidate"].notna()]
        first = candidates.iloc[0]
        parent, experiment = first["tags.mlflow.parentRunId"], first["experiment_id"]

        table = f"{url}/#/experiments/{experiment}/runs?workflowType=machine_learning"

        IMAGES.mkdir(parents=True, exist_ok=True)
        chromium = playwright.chromium.launch(executable_path=chrome, args=browser.ARGS)
        page = chromium.new_page(viewport=SIZE)
        page.add_init_script(kept_state(experiment, parent))
        open_page(page, table, "maxDepth=8")
        save(page, "nested-runs.png")
        run_page = f"{url}/#/experiments/{experiment}/runs/{parent}"
        open_page(page, run_page, "27 of 27 fits")
        save(page, "description.png")
        open_page(page, f"{run_page}/artifacts/trackmllib/report.html", "report.html")
        # The folder of this machine says nothing to readers.
        page.get_by_text("Path:").last.evaluate("row => { row.style.visibility = 'hidden' }")
        save(page, "artifact.png")

        (report,) = server.DEMO.glob(f"artifacts/{parent}/artifacts/trackmllib/report.html")
        page.set_viewport_size(ViewportSize(width=900, height=1000))
        page.goto(report.as_uri())
        save(page, "report.png")
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{server.DATABASE}"
        search_id = first["tags.trackmllib.search_id"]
        output = in_terminal(100, "show", parent, "--search", search_id)
        page.set_content(terminal_page(f"trackmllib show {parent[:4]}", output))
        page.locator("pre").screenshot(path=IMAGES / "terminal.png")
        print("docs/images/terminal.png")
        chromium.close()


if __name__ == "__main__":
    main()
