"""The report in a frame like that of MLflow's artifact pane, in a real browser."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tables import grid, searched
from trackmllib.view.results import Results
from trackmllib.view.runs import Runs

pytestmark = pytest.mark.heavy

ADDRESS = "http://localhost:5000/#/experiments/7/runs/"


@pytest.fixture
def report(tmp_path) -> Path:
    runs = Runs(
        tracking_uri="http://localhost:5000",
        experiment_id="7",
        main="f" * 32,
        children={0: "0" * 32, 1: "1" * 32},
    )
    search = searched(grid(x=[1, 2]), [[0.5, 0.6], [0.6, 0.7]])
    return Results(search, lambda: runs).report(tmp_path / "report.html")


def test_a_link_that_the_pane_blocks_shows_its_address(report, page, tmp_path):
    # MLflow 3.17 has the page in such a frame.
    text = escape(report.read_text(encoding="utf-8"))
    frame = f'<iframe sandbox="allow-scripts" width="900" height="700" srcdoc="{text}"></iframe>'
    (tmp_path / "pane.html").write_text(f"<!DOCTYPE html>{frame}", encoding="utf-8")
    page.goto((tmp_path / "pane.html").as_uri())
    inside = page.frame_locator("iframe")
    note = inside.get_by_role("status")
    expect(note).to_contain_text("download the file and open it by itself")
    inside.get_by_role("link", name="11111111").click()
    expect(note).to_contain_text(ADDRESS + "1" * 32)
    expect(note).to_be_in_viewport()
    assert len(page.context.pages) == 1
    inside.get_by_role("link", name="The search on MLflow").click()
    expect(note).to_contain_text(ADDRESS + "f" * 32)
    expect(note).to_be_in_viewport()


def test_a_report_by_itself_opens_its_links(report, page):
    page.context.route("http://localhost:5000/**", lambda route: route.fulfill(body="a run"))
    page.goto(report.as_uri())
    expect(page.locator("#pane")).to_be_hidden()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="11111111").click()
    assert opened.value.url == ADDRESS + "1" * 32
