"""Order of delivery: which rows may go first, and batches that are merged."""

from __future__ import annotations

from trackmllib.domain.operations import (
    CloseSearch,
    CreateChildRun,
    EndRun,
    LogArtifact,
    LogBatch,
    Metric,
)
from trackmllib.outbox.delivery_order import Row, coalesce, select_deliverable


def batch(candidate, *values):
    metrics = tuple(Metric("m", float(v), v, v) for v in values)
    return LogBatch(search_id="s", candidate=candidate, metrics=metrics)


def end(candidate):
    return EndRun(search_id="s", candidate=candidate, status="FINISHED", end_ms=1)


CREATE = CreateChildRun(search_id="s", candidate=0, name="n", start_ms=0, tags=())
FILE = LogArtifact(search_id="s", file_name="f", text="")


def rows(*operations):
    return [Row(number, operation) for number, operation in enumerate(operations, 1)]


def test_child_run_is_deliverable_in_three_operations():
    waiting = rows(CREATE, batch(0, 1), batch(0, 2), batch(0, 3), end(0))
    assert list(select_deliverable(waiting)) == waiting
    merged = coalesce(waiting)
    assert [numbers for numbers, _, _ in merged] == [[1], [2, 3, 4], [5]]
    assert merged[1][1] == batch(0, 1, 2, 3)


def test_end_and_artifacts_of_the_parent_run_wait_for_older_rows():
    assert list(select_deliverable(rows(batch(None, 1), batch(None, 2), FILE))) == rows(
        batch(None, 1), batch(None, 2)
    )
    assert list(select_deliverable(rows(batch(None, 1), end(None)))) == rows(batch(None, 1))
    assert list(select_deliverable(rows(FILE, batch(None, 1), end(None)))) == rows(
        FILE, batch(None, 1)
    )
    assert list(select_deliverable(rows(end(None)))) == rows(end(None))


def test_batches_are_not_merged_over_another_operation():
    merged = coalesce(rows(batch(None, 1), FILE, batch(None, 2), batch(None, 3)))
    assert [numbers for numbers, _, _ in merged] == [[1], [2], [3, 4]]


def test_child_run_ends_after_all_its_other_operations():
    """A tag that comes after its end, as of the winner, costs no request of its own."""
    merged = coalesce(rows(CREATE, batch(0, 1), end(0), batch(0, 2), batch(1, 1), end(1)))
    assert [numbers for numbers, _, _ in merged] == [[1], [2, 4], [3], [5], [6]]
    assert merged[2].operation == end(0)


def test_end_of_the_parent_run_keeps_its_place():
    close = CloseSearch(search_id="s")
    assert [o for _, o, _ in coalesce(rows(end(None), close))] == [end(None), close]
