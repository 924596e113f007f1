"""The demo as run by ``make demo``, and the MLflow UI on it in a real browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[3]
# The demo takes 150 s alone, and longer beside the other parts of CI.
SECONDS = 900


@dataclass
class Demo:
    """The record and the output of the demo; ``url`` is the address of the MLflow UI."""

    folder: Path
    printed: str
    url: str = ""

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=f"sqlite:///{self.folder / 'mlflow.db'}")

    @property
    def experiment_id(self) -> str:
        return self.client.get_experiment_by_name("digits").experiment_id

    def parent_run(self, experiment: str = "digits") -> Run:
        """The oldest parent run of an experiment."""
        found = self.client.get_experiment_by_name(experiment)
        return self.client.search_runs(
            [found.experiment_id],
            "params.candidates != ''",
            order_by=["attributes.start_time ASC"],
        )[0]

    def children(self, run: Run) -> list[Run]:
        parent = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
        return list(self.client.search_runs([run.info.experiment_id], parent))


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo"


@pytest.fixture(scope="session")
def demo(demo_folder) -> Demo:
    """All notebooks, on a store of their own."""
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "tools" / "demo.py")],
            env={**environ(), "DEMO_FOLDER": str(demo_folder)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        log = (demo_folder / "kernel.log").read_text()[-5000:]
        pytest.fail(f"The demo has not ended after {SECONDS} s: {late.stdout!r}\n{log}")
    assert done.returncode == 0, done.stdout + done.stderr
    return Demo(demo_folder, done.stdout)


@pytest.fixture(scope="session")
def served(demo) -> Iterator[Demo]:
    """MLflow's server on the demo's store, as ``make ui`` starts it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DEMO_FOLDER", str(demo.folder))
        patched.syspath_prepend(str(ROOT / "tools"))
        import server

        before = signal.getsignal(signal.SIGTERM)
        with server.running() as url:
            # Other tests run during this block.
            signal.signal(signal.SIGTERM, before)
            yield Demo(demo.folder, demo.printed, url)


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "tools"))
        import browser

        with sync_playwright() as playwright:
            launched = playwright.chromium.launch(
                executable_path=browser.executable(), args=browser.ARGS
            )
            yield launched
            launched.close()


@pytest.fixture
def page(chromium) -> Iterator[Page]:
    """A new browser page, with MLflow's assistant closed."""
    context = chromium.new_context(viewport={"width": 1800, "height": 900})
    context.add_init_script(
        """
        localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
        localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
        localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
        """
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()


def environ() -> dict[str, str]:
    """The environment of a user who has set no options."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("TRACKMLLIB", "MLFLOW"))}
