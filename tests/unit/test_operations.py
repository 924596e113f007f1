"""Operations: merging batches keeps the order within each run."""

from __future__ import annotations

from trackmllib.operations import (
    CreateChildRun,
    EndRun,
    LogArtifact,
    LogBatch,
    Metric,
    Row,
    coalesce,
)


def batch(candidate, *values):
    metrics = tuple(Metric("m", float(v), v, v) for v in values)
    return LogBatch(search_id="s", candidate=candidate, metrics=metrics)


def rows(*operations):
    return [Row(number, operation) for number, operation in enumerate(operations, 1)]


def test_batches_of_one_run_are_merged_over_those_of_others():
    create = CreateChildRun(search_id="s", candidate=0, name="n", start_ms=0, tags=())
    end = EndRun(search_id="s", candidate=0, status="FINISHED", end_ms=1)
    merged = list(
        coalesce(rows(create, batch(0, 1), batch(None, 1), batch(0, 2), end, batch(None, 2)))
    )
    assert [numbers for numbers, _ in merged] == [(1,), (2, 4), (3, 6), (5,)]
    assert merged[1][1] == batch(0, 1, 2)
    assert merged[2][1] == batch(None, 1, 2)


def test_nothing_is_moved_over_another_operation_of_its_run():
    end = EndRun(search_id="s", candidate=0, status="FINISHED", end_ms=1)
    file = LogArtifact(search_id="s", candidate=0, file_name="f", text="")
    merged = list(coalesce(rows(batch(0, 1), end, batch(0, 2), file, batch(0, 3), batch(0, 4))))
    assert [numbers for numbers, _ in merged] == [(1,), (2,), (3,), (4,), (5, 6)]


def test_no_point_is_lost():
    merged = list(coalesce(rows(*(batch(n % 3, n) for n in range(100)))))
    assert len(merged) == 3
    points = [m.value for _, operation in merged for m in operation.metrics]
    assert sorted(points) == [float(n) for n in range(100)]
