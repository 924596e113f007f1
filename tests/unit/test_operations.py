"""Operations: what may overtake what, and batches that become one."""

from __future__ import annotations

from trackmllib.operations import (
    CloseSearch,
    CreateChildRun,
    EndRun,
    LogArtifact,
    LogBatch,
    Metric,
    Row,
    coalesce,
    ready,
)


def batch(candidate, *values):
    metrics = tuple(Metric("m", float(v), v, v) for v in values)
    return LogBatch(search_id="s", candidate=candidate, metrics=metrics)


def end(candidate):
    return EndRun(search_id="s", candidate=candidate, status="FINISHED", end_ms=1)


CREATE = CreateChildRun(search_id="s", candidate=0, name="n", start_ms=0, tags=())
FILE = LogArtifact(search_id="s", file_name="f", text="")


def rows(*operations):
    return [Row(number, operation) for number, operation in enumerate(operations, 1)]


def test_all_of_a_child_run_is_ready_and_becomes_three_operations():
    waiting = rows(CREATE, batch(0, 1), batch(0, 2), batch(0, 3), end(0))
    assert list(ready(waiting)) == waiting
    merged = coalesce(waiting)
    assert [numbers for numbers, _, _ in merged] == [[1], [2, 3, 4], [5]]
    assert merged[1][1] == batch(0, 1, 2, 3)


def test_the_end_and_the_files_of_the_main_run_wait_for_their_turn():
    assert list(ready(rows(batch(None, 1), batch(None, 2), FILE))) == rows(
        batch(None, 1), batch(None, 2)
    )
    assert list(ready(rows(batch(None, 1), end(None)))) == rows(batch(None, 1))
    assert list(ready(rows(FILE, batch(None, 1), end(None)))) == rows(FILE, batch(None, 1))
    assert list(ready(rows(end(None)))) == rows(end(None))


def test_batches_are_not_merged_over_another_operation():
    merged = coalesce(rows(batch(None, 1), FILE, batch(None, 2), batch(None, 3)))
    assert [numbers for numbers, _, _ in merged] == [[1], [2], [3, 4]]


def test_a_child_run_ends_behind_all_that_is_there_for_it():
    """What is said of it after its end, as that it won, costs no request of its own."""
    merged = coalesce(rows(CREATE, batch(0, 1), end(0), batch(0, 2), batch(1, 1), end(1)))
    assert [numbers for numbers, _, _ in merged] == [[1], [2, 4], [3], [5], [6]]
    assert merged[2].operation == end(0)


def test_a_main_run_ends_where_it_was_put():
    close = CloseSearch(search_id="s")
    assert [o for _, o, _ in coalesce(rows(end(None), close))] == [end(None), close]
