"""The MLflow UI after the demo, in a real browser."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from support.search_events import AVERAGES, SCORES, numbered_search, search
from support.search_player import Player, new_session

# The first test waits for the demo, which has a limit of its own.
pytestmark = pytest.mark.timeout(1000)

EXPANDER = 'button[data-component-id*="runnamecellrenderer"]'


def runs(demo, experiment_id: str | None = None, search: str = "") -> str:
    page = f"{demo.url}/#/experiments/{experiment_id or demo.experiment_id}/runs"
    return f"{page}?workflowType=machine_learning" + (
        f"&searchFilter={quote(search)}" if search else ""
    )


def row(page, name: str):
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def unfold(page, name: str) -> None:
    row(page, name).locator(EXPANDER).click()


def names(page) -> list[str]:
    """Return the names of the runs in the table, from top to bottom."""
    return [link.inner_text() for link in page.locator('[col-id*="Run Name"] a').all()]


def rankings(page):
    """The tables of a description."""
    return page.get_by_role("table").filter(has_text="weightedPrecision").filter(has_text="rank")


def test_demo_prints_answer_and_path_of_report(demo):
    assert re.search(
        r"maxDepth=\d+, maxBins=\d+ is best: weightedPrecision 0\.\d+ ± ", demo.printed
    )
    report = re.search(r"The report is (\S+report\.html)", demo.printed)
    assert Path(report[1]).exists()
    for notebook in ("tuning", "long_search", "faster_search"):
        assert (demo.folder / f"{notebook}.ipynb").exists()
    parent = demo.parent_run("long searches")
    assert parent.info.status == "KILLED"
    assert parent.data.metrics["fits_finished"] >= 9


def test_child_runs_unfold_under_their_parent_run(served, page):
    page.goto(runs(served))
    expect(row(page, "decision tree")).to_be_visible()
    assert "maxDepth=8, maxBins=8" not in names(page)
    unfold(page, "decision tree")
    expect(page.get_by_role("link", name="maxDepth=8, maxBins=8", exact=True).first).to_be_visible()
    assert len([name for name in names(page) if name.startswith("maxDepth=")]) == 9


def test_search_box_finds_candidates_and_columns_show_averages(served, page):
    page.goto(runs(served))
    expect(row(page, "decision tree")).to_be_visible()
    box = page.get_by_role("textbox").or_(page.get_by_role("combobox")).first
    box.fill('params.maxBins = "8"')
    box.press("Enter")
    page.get_by_role("button", name="Columns").click()
    page.get_by_text("avg_weightedPrecision", exact=True).first.click()
    page.keyboard.press("Escape")
    children = [c for c in served.children(served.parent_run()) if c.data.params["maxBins"] == "8"]
    # MLflow also shows the parent run of its matches.
    expect(page.get_by_text(f"{len(children) + 1} matching runs")).to_be_visible()
    unfold(page, "decision tree")
    expect(page.locator('[col-id*="Run Name"] a')).to_have_count(len(children) + 1)
    averages = page.locator('[role=gridcell][col-id*="avg_weightedPrecision"]')
    expect(averages).to_have_count(len(children) + 1)
    shown = sorted(float(text) for text in averages.all_inner_texts() if text != "-")
    wanted = sorted(child.data.metrics["avg_weightedPrecision"] for child in children)
    assert shown == pytest.approx(wanted, abs=0.001)


def test_run_page_starts_with_the_description(served, page):
    parent = served.parent_run()
    page.goto(f"{served.url}/#/experiments/{served.experiment_id}/runs/{parent.info.run_id}")
    # The description starts with the answer.
    expect(page.get_by_text("45 of 45 fits")).to_be_visible()
    expect(page.get_by_text(re.compile("^Best: maxDepth=")).first).to_be_visible()
    page.get_by_text("Show more", exact=True).first.click()
    tables = rankings(page)
    expect(tables).to_have_count(1)
    expect(tables.first.get_by_role("row")).to_have_count(1 + 9)
    note = parent.data.tags["mlflow.note.content"]
    assert parent.data.tags["trackmllib.search_id"] in note
    # The markers of the description are invisible.
    shown = tables.first.locator("xpath=..").inner_text()
    assert "trackmllib" in shown
    assert parent.data.tags["trackmllib.search_id"] not in shown
    assert "<!--" not in shown


def test_description_ranks_the_candidates_of_each_search_in_a_run(served, page, tmp_path):
    experiment_id = served.client.create_experiment("two searches in a run")
    run_id = served.client.create_run(experiment_id).info.run_id
    player = Player(tmp_path, served.client.tracking_uri, experiment_id)
    player.active = run_id
    for _ in range(2):
        player.play(search(SCORES, AVERAGES, 1))
    served.client.set_terminated(run_id)
    page.goto(f"{served.url}/#/experiments/{experiment_id}/runs/{run_id}")
    page.get_by_text("Show more", exact=True).first.click()
    tables = rankings(page)
    expect(tables).to_have_count(2)
    for table in tables.all():
        expect(table.get_by_role("row")).to_have_count(1 + len(SCORES))


def test_artifact_pane_shows_the_report(served, page):
    parent = served.parent_run()
    page.goto(
        f"{served.url}/#/experiments/{served.experiment_id}/runs/{parent.info.run_id}"
        "/artifacts/trackmllib/report.html"
    )
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", level=1)).to_contain_text("is best: weightedPrecision")
    expect(report.get_by_role("img").first).to_be_visible()
    # The table can be sorted in the pane.
    head = report.get_by_role("columnheader").filter(has_text="Seconds")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", re.compile("ascending|descending"))
    expect(report.get_by_role("heading", name="Training against validation score")).to_be_visible()
    for name in ("accuracy", "f1", "train_weightedPrecision", "train_accuracy", "train_f1"):
        expect(report.get_by_role("columnheader", name=name, exact=True)).to_have_count(1)


def test_search_with_1000_child_runs_opens_unfolds_and_sorts(
    served, page, tmp_path, record_property
):
    experiment_id = served.client.create_experiment("a thousand")
    session = new_session(tmp_path, served.client.tracking_uri, experiment_id=experiment_id)
    for event in numbered_search("thousand", 1000):
        session.callbacks.emit(event)
    assert session.flush(200)
    best = max(
        served.client.search_runs([experiment_id], "tags.`trackmllib.best` = 'true'"),
        key=lambda run: run.data.metrics["avg_weightedPrecision"],
    )
    began = time.monotonic()
    page.goto(runs(served, experiment_id))
    name = "CrossValidator: Pipeline"
    expect(row(page, name)).to_be_visible()
    opened = time.monotonic()
    unfold(page, name)
    expect(page.get_by_role("link", name=re.compile("^maxDepth=")).first).to_be_visible()
    unfolded = time.monotonic()
    page.get_by_role("button", name=re.compile("^Sort")).click()
    page.get_by_role("menuitemcheckbox", name="avg_weightedPrecision", exact=True).click()
    # The order of rows in the DOM differs from that on the screen.
    first = page.locator('[row-index="0"] [col-id*="Run Name"] a')
    expect(first).to_have_text(best.info.run_name)
    seconds = {
        "open": opened - began,
        "unfold": unfolded - opened,
        "sort": time.monotonic() - unfolded,
    }
    for what, took in seconds.items():
        record_property(what, f"{took:.1f}")
        print(f"{what} with 1,000 children: {took:.1f} s")
