"""The report in a frame like that of MLflow's artifact pane, in a real browser."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

import pytest
from playwright.sync_api import FrameLocator, expect

from support.search_descriptions import grid
from support.search_states import searched
from trackmllib.reporting.results import Results
from trackmllib.reporting.run_links import RunLinks

ADDRESS = "http://localhost:5000/#/experiments/7/runs/"


@pytest.fixture
def report(tmp_path) -> Path:
    runs = RunLinks(
        tracking_uri="http://localhost:5000",
        experiment_id="7",
        parent="f" * 32,
        children={0: "0" * 32, 1: "1" * 32},
    )
    search = searched(grid(x=[1, 2]), [[0.5, 0.6], [0.6, 0.7]])
    return Results(search, lambda: runs).report(tmp_path / "report.html")


def in_pane(page, report: Path) -> FrameLocator:
    """The report in a frame like that of MLflow 3.17."""
    text = escape(report.read_text(encoding="utf-8"))
    frame = f'<iframe sandbox="allow-scripts" width="900" height="700" srcdoc="{text}"></iframe>'
    pane = report.with_name("pane.html")
    pane.write_text(f"<!DOCTYPE html>{frame}", encoding="utf-8")
    page.goto(pane.as_uri())
    return page.frame_locator("iframe")


def test_link_blocked_by_the_pane_shows_its_address(report, page):
    inside = in_pane(page, report)
    note = inside.get_by_role("status")
    expect(note).to_contain_text("download the file and open it in a tab")
    inside.get_by_role("link", name="11111111").click()
    expect(note).to_contain_text(ADDRESS + "1" * 32)
    expect(note).to_be_in_viewport()
    assert len(page.context.pages) == 1
    inside.get_by_role("link", name="The search in the MLflow UI").click()
    expect(note).to_contain_text(ADDRESS + "f" * 32)
    expect(note).to_be_in_viewport()


def test_report_in_its_own_tab_opens_its_links(report, page):
    page.context.route("http://localhost:5000/**", lambda route: route.fulfill(body="a run"))
    page.goto(report.as_uri())
    expect(page.locator("#pane")).to_be_hidden()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="11111111").click()
    assert opened.value.url == ADDRESS + "1" * 32


def test_table_in_the_pane_is_ranked_by_a_further_metric(page, tmp_path):
    further = {"logLoss": [[3.0], [12.0], [math.nan], [0.5], [None]]}
    rows = [[0.9], [0.8], [0.7], [0.6], [0.5]]
    search = searched(grid(x=range(5)), rows, averaged=False, further=further)
    inside = in_pane(page, Results(search).report(tmp_path / "report.html"))
    values = inside.locator("table.sortable tbody td:nth-child(2)")
    expect(values).to_have_text(["0", "1", "2", "3", "4"])
    head = inside.get_by_role("button", name="logLoss")
    head.click()
    expect(values).to_have_text(["3", "0", "1", "2", "4"])
    head.click()
    expect(values).to_have_text(["1", "0", "3", "2", "4"])
