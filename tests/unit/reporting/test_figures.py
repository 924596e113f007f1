"""Data of the figures, on numbers."""

from __future__ import annotations

import math
import random

import pytest

from support.scripted_search import Search
from support.search_descriptions import describe, grid, stage
from support.search_states import FAILURE, searched
from trackmllib.domain.descriptions import FurtherMetric, SharedStages
from trackmllib.reporting import figure_kinds
from trackmllib.reporting.figures.context import NotAskedFor, NothingToDraw, SearchContext
from trackmllib.reporting.figures.cost import cost
from trackmllib.reporting.figures.importance import importance
from trackmllib.reporting.figures.pairs import heatmaps
from trackmllib.reporting.figures.parallel import parallel
from trackmllib.reporting.figures.params import params
from trackmllib.reporting.figures.scores import scores
from trackmllib.reporting.figures.timeline import timeline
from trackmllib.reporting.figures.training import training
from trackmllib.support import formatting

NAN = math.nan


def context(maps, rows, **changes):
    return SearchContext(searched(maps, rows, **changes))


def test_scores_figure_ranks_candidates_with_their_folds():
    found = scores(
        context(
            grid(x=[1, 2, 3]),
            [
                [0.50, 0.70, 0.90, 0.40, 0.60],
                [0.501, 0.7005, 0.9015, 0.3995, 0.601],
                [0.4499, 0.6501, 0.85, 0.35, 0.5501],
            ],
        )
    )
    assert [row.candidate for row in found.rows] == [1, 0, 2]
    assert [row.name for row in found.rows] == ["x=2", "x=1", "x=3"]
    assert found.rows[0].folds == (0.501, 0.7005, 0.9015, 0.3995, 0.601)
    assert [row.best for row in found.rows] == [True, False, False]
    assert [row.alike for row in found.rows] == [False, True, False]


def test_scores_figure_shows_the_best_fifty():
    rows = [[i / 100, i / 100] for i in range(60)] + [[NAN, NAN]]
    found = scores(context(grid(x=range(61)), rows, best=59))
    assert (len(found.rows), found.total, found.without) == (50, 60, 1)
    assert "The best 50 are shown. 1 candidate has no score." in found.finding


def test_scores_figure_ranks_smaller_scores_first():
    found = scores(context(grid(x=[1, 2]), [[3.0, 4.0], [1.0, 2.0]], larger_is_better=False))
    assert [row.candidate for row in found.rows] == [1, 0]
    assert found.finding.startswith("The averages of 2 candidates range from 1.50 (best) to 3.50")


@pytest.mark.parametrize("rows", [[[NAN, NAN]] * 4, [[None, None]] * 4])
@pytest.mark.parametrize("figure", [scores, params, heatmaps, parallel, importance, cost])
def test_search_without_scores_has_nothing_to_draw(figure, rows):
    found = context(grid(x=[1, 2], y=[1, 2]), rows, end=FAILURE)
    with pytest.raises(NothingToDraw, match="No candidate has a score"):
        figure(found)


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([2**60, 2**60 + 1], "category"),
        ([2**60, 2**60 + 1, 1], "category"),
        ([-1.7e308, 1.7e308], "category"),
        ([2**60, 2**61], "numeric"),
    ],
)
def test_numbers_beyond_double_precision_are_categories(numbers, kind):
    maps = grid(seed=numbers, x=[1, 2], y=[1, 2])
    found = context(maps, [[i / 100, i / 99] for i in range(len(maps))])
    kinds = {panel.key: panel.kind for panel in params(found).panels}
    assert kinds["seed"] == kind
    assert len(parallel(found).lines) == len(maps)


def test_unset_param_has_its_own_place_beside_a_large_number():
    maps = [{**each, **seed} for each in grid(x=[1, 2], y=[1, 2]) for seed in ({"s": 1e17}, {})]
    found = context(maps, [[i / 100, i / 99] for i in range(len(maps))])
    assert {line.places[:-1] for line in parallel(found).lines}


def drawn_with_long_texts(kind):
    maps = grid(x=[f"🎉日{i}" * 20 for i in range(5)], y=["🎉" * 30, "é" * 60], z=[1, 2])
    rows = [[i / 50, i / 51] for i in range(len(maps))]
    figure = figure_kinds.figure(
        context(maps, rows, metric="a_metric_of_more_than_25_letters"), kind
    )
    figure.draw_without_rendering()
    return [axes for axes in figure.axes if axes.get_visible()]


def test_wide_labels_leave_room_for_heatmaps():
    for axes in drawn_with_long_texts("heatmaps"):
        inches = axes.get_window_extent().height / axes.figure.dpi
        assert inches > 0.2 * len(axes.get_yticks())
        shown = [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        assert max(map(formatting.display_width, shown)) <= 18


def test_metric_label_fits_its_panel():
    for axes in drawn_with_long_texts("params"):
        label, panel = axes.yaxis.label.get_window_extent(), axes.get_window_extent()
        assert label.height <= panel.height * 1.02
        assert panel.height / axes.figure.dpi > 1.5


@pytest.mark.parametrize("kind", ["scores", "parallel", "cost", "timeline"])
def test_legend_lies_within_its_figure(kind):
    maps = grid(x=[1, 2, 3], y=[1, 2, 3], z=[1, 2])
    rows = [[i // 4 + fold / 5 + i * fold**2 / 500 for fold in range(10)] for i in range(len(maps))]
    figure = figure_kinds.figure(context(maps, rows), kind)
    figure.draw_without_rendering()
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_params_have_the_kind_of_their_values():
    maps = grid(
        regParam=[0.001, 0.1, 10.0],
        maxDepth=[2, 4],
        family=["a", "b"],
        fitIntercept=[True, False],
        classifier=[stage("LinearSVC"), stage("NaiveBayes")],
        fixed=[1],
    )
    search = context(maps, [[i / 100, i / 99] for i in range(len(maps))])
    kinds = {panel.key: panel.kind for panel in params(search).panels}
    assert kinds == {
        "regParam": "log",
        "maxDepth": "numeric",
        "family": "category",
        "fitIntercept": "boolean",
        "classifier": "stage",
    }
    by_key = {panel.key: panel for panel in params(search).panels}
    assert [level.text for level in by_key["fitIntercept"].levels] == ["False", "True"]
    assert by_key["regParam"].positions == (0.001, 0.1, 10.0)
    assert by_key["classifier"].positions == (0.0, 1.0)


def test_numeric_levels_are_sorted_and_averaged():
    search = context(grid(x=[30, 10, 20], y=[1, 2]), [[v, v] for v in (3.0, 5.0, 0, 2, 1, 1)])
    panel = params(search).panels[0]
    assert (panel.key, panel.positions, panel.means) == ("x", (10.0, 20.0, 30.0), (1.0, 1.0, 4.0))
    assert params(search).finding == ("x matters most: at 30 the mean is 4.000, at 10 it is 1.000.")


def test_unset_param_is_its_own_level():
    maps = [{"kind": "tree", "depth": 2}, {"kind": "tree", "depth": 4}, {"kind": "linear"}]
    search = context(maps, [[0.1, 0.2], [0.3, 0.4], [0.5, 0.7]])
    panel = next(panel for panel in params(search).panels if panel.key == "depth")
    assert [level.text for level in panel.levels] == ["2", "4", "not set"]
    assert panel.positions == (2.0, 4.0, 4.4)
    assert panel.means == (pytest.approx(0.15), pytest.approx(0.35), pytest.approx(0.6))


def test_stages_with_equal_text_are_numbered():
    search = context(grid(c=[stage("A", "1"), stage("A", "2")]), [[0.1, 0.2], [0.2, 0.3]])
    assert [level.text for level in params(search).panels[0].levels] == ["A", "A (2)"]


def test_importance_is_exact_on_a_full_grid():
    # Effects of 2 for x, 1 for y and 0.5 for their interaction, orthogonal to each other.
    maps = grid(x=[-1, 1], y=[-1, 1], z=[-1, 1])
    rows = [[2.0 * m["x"] + m["y"] + 0.5 * m["x"] * m["y"]] * 2 for m in maps]
    found = importance(context(maps, rows))
    assert found.exact
    assert found.caveat is None
    assert found.rest == 0.0
    shares = {each.params: each.share for each in found.shares}
    assert shares == {
        ("x",): pytest.approx(4 / 5.25),
        ("y",): pytest.approx(1 / 5.25),
        ("x", "y"): pytest.approx(0.25 / 5.25),
        ("z",): pytest.approx(0.0, abs=1e-12),
        ("x", "z"): pytest.approx(0.0, abs=1e-12),
        ("y", "z"): pytest.approx(0.0, abs=1e-12),
    }
    assert found.finding == "x explains 76 % of the variance, y 19 %."


def test_shares_and_rest_add_up_to_one():
    rng = random.Random(1)
    maps = grid(x=[1, 2, 3], y=["a", "b"], z=[True, False])
    found = importance(context(maps, [[rng.random()] * 2 for _ in maps]))
    assert sum(each.share for each in found.shares) + found.rest == pytest.approx(1.0)
    assert found.rest > 0


def test_importance_with_missing_scores_is_approximate():
    maps = grid(x=[-1, 1], y=[-1, 0, 1], z=[-1, 1])
    rows = [[2.0 * m["x"] + m["y"]] * 2 for m in maps]
    rows[3] = [NAN, NAN]
    found = importance(context(maps, rows, best=11))
    assert not found.exact
    assert "1 of 12 combinations has no score and was filled in" in found.caveat
    shares = {each.params: each.share for each in found.shares}
    # Without interactions, the filled-in score is the missing one.
    assert shares[("x",)] == pytest.approx(4 / (4 + 2 / 3))


def test_importance_of_a_random_search_uses_bins():
    rng = random.Random(2)
    maps = [{"x": rng.random(), "y": rng.random()} for _ in range(200)]
    found = importance(context(maps, [[m["x"] + 0.1 * m["y"]] * 2 for m in maps]))
    assert not found.exact
    assert found.shares[0].params == ("x",)
    assert found.shares[0].share > 0.9


def test_importance_needs_enough_scores():
    maps = [{"x": i, "y": -i} for i in range(3)]
    with pytest.raises(NothingToDraw, match="too few"):
        importance(context(maps, [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]))
    with pytest.raises(NothingToDraw, match="All scores are the same"):
        importance(context(grid(x=[1, 2], y=[1, 2]), [[0.1, 0.1]] * 4))
    with pytest.raises(NothingToDraw, match="One score alone"):
        importance(context(grid(x=[1, 2], y=[1, 2]), [[0.1, 0.1], *[[0.1, None]] * 3], end=FAILURE))
    with pytest.raises(NothingToDraw, match="One param varies"):
        importance(context(grid(x=[1, 2]), [[0.1, 0.1], [0.2, 0.2]]))


def test_heatmap_averages_over_all_other_params():
    maps = grid(x=[1, 2, 3], y=["a", "b"], z=[0, 1])
    rows = [[m["x"] * 1.0 + (m["y"] == "b") * 10 + m["z"] * 0.2] * 2 for m in maps]
    found = heatmaps(context(maps, rows))
    first = found.maps[0]
    assert (first.x, first.y) == ("x", "y")
    assert (first.columns, first.rows) == (("1", "2", "3"), ("a", "b"))
    assert first.means == (
        (pytest.approx(1.1), pytest.approx(2.1), pytest.approx(3.1)),
        (pytest.approx(11.1), pytest.approx(12.1), pytest.approx(13.1)),
    )
    assert first.best == (1, 2)
    assert len(found.maps) == 3


def test_six_most_telling_pairs_are_shown():
    maps = grid(a=[0, 1], b=[0, 1], c=[0, 1], d=[0, 1], e=[0, 1])
    rows = [[10.0 * m["d"] + 5.0 * m["b"] + 0.1 * m["a"]] * 2 for m in maps]
    found = heatmaps(context(maps, rows))
    assert (len(found.maps), found.left_out) == (6, 4)
    assert {found.maps[0].x, found.maps[0].y} == {"b", "d"}


def test_params_that_never_vary_together_have_no_heatmap():
    with pytest.raises(NothingToDraw, match="vary together"):
        heatmaps(context([{"x": i, "y": -i} for i in range(9)], [[i, i + 0.5] for i in range(9)]))
    with pytest.raises(NothingToDraw, match="two params"):
        heatmaps(context(grid(x=[1, 2]), [[1.0, 2.0], [2.0, 3.0]]))


def test_parallel_coordinates_end_at_the_score():
    maps = grid(x=[1, 10, 100], y=["a", "b"], z=[False, True])
    rows = [[float(i), float(i)] for i in range(12)]
    found = parallel(context(maps, rows))
    assert [axis.key for axis in found.axes] == ["x", "y", "z"]
    assert found.axes[0].ticks == ((0.0, "1"), (0.5, "10"), (1.0, "100"))
    assert found.lines[-1].best
    assert found.lines[-1].places == (1.0, 1.0, 1.0, 1.0)
    assert found.finding == "The best 2 candidates share x=100, y=b."
    with pytest.raises(NothingToDraw, match="three params"):
        parallel(context(grid(x=[1, 2], y=[1, 2]), [[i, i] for i in range(4)]))


def test_timeline_shows_fits_by_thread_and_idle_gaps():
    found = timeline(
        context(
            grid(x=[1, 2, 3]),
            [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]],
            seconds=[1.0, 1.0, 3.0],
            parallelism=2,
        )
    )
    assert found.threads == 2
    assert [(bar.thread, bar.start, bar.end) for bar in found.bars[:3]] == [
        (0, 0.0, 1.0),
        (1, 0.0, 1.0),
        (0, 1.0, 4.0),
    ]
    assert found.folds == ((0, 0.0, 4.0), (1, 4.0, 8.0))
    assert [(gap.thread, gap.start, gap.end) for gap in found.gaps] == [
        (1, 1.0, 4.0),
        (1, 5.0, 8.0),
    ]
    assert found.idle == pytest.approx(6 / 16)
    assert found.refit == (8.0, 9.0)
    assert found.parallelism == 2


def test_forecast_simulates_higher_parallelism():
    maps = grid(x=range(8))
    found = timeline(context(maps, [[0.1, 0.1 + i] for i in range(8)], seconds=1.0))
    assert found.forecast == ((1, 16.0), (2, 8.0), (4, 4.0), (8, 2.0))
    assert found.finding.endswith(
        "parallelism=8 could take 2.0 s, if the cluster has room for that many jobs at a time."
    )


def test_parallelism_does_not_shorten_one_long_fit():
    found = timeline(
        context(grid(x=[1, 2]), [[0.1, 0.1], [0.2, 0.2]], seconds=[0.01, 10.0], parallelism=1)
    )
    assert "A higher parallelism would gain little." in found.finding


def test_thread_that_always_works_is_never_idle():
    search = Search(describe(3, folds=2, parallelism=1))
    work = SharedStages(stages=("PCA",), candidates=(0, 1))
    at = 0.0
    for fold in range(2):
        at += 2.0
        search.share(work, fold, 2.0, at=at)
        for candidate in range(3):
            search.begin(candidate, fold, at=at)
            at += 1.0
            search.score(candidate, fold, 0.5, at=at, metrics_seconds=0.5)
            at += 0.5
    found = timeline(SearchContext(search.result))
    assert (found.threads, found.idle, found.gaps) == (1, 0.0, ())
    assert found.forecast[0] == (1, at)
    assert "idle" not in found.finding
    # Two threads: one does the shared work while the other waits, on each fold.
    assert found.forecast[1] == (2, 2 * (2.0 + 2 * 1.5))


def test_pause_before_a_retry_is_idle():
    search = Search(describe(1, folds=1)).begin(0, 0)
    search.retry(0, 0, at=2.0).score(0, 0, 0.5, at=10.0, start=6.0)
    found = timeline(SearchContext(search.result))
    assert [(bar.start, bar.end, bar.failed) for bar in found.bars] == [
        (0.0, 2.0, True),
        (6.0, 10.0, False),
    ]
    assert found.idle == 0.4


def test_timeline_needs_a_finished_fit():
    with pytest.raises(NothingToDraw, match="No fit"):
        timeline(context(grid(x=[1]), [], end=None))


def test_cheaper_and_equally_good_candidate_is_an_alternative():
    found = cost(
        context(
            grid(x=[1, 2, 3, 4]),
            [
                [0.50, 0.52, 0.54, 0.52, 0.52],
                [0.70, 0.72, 0.74, 0.72, 0.72],
                [0.701, 0.722, 0.740, 0.720, 0.721],
                [0.6, 0.6, 0.6, 0.6, 0.6],
            ],
            seconds=[1.0, 2.0, 8.0, 9.0],
        )
    )
    assert [(point.candidate, point.seconds) for point in found.points] == [
        (0, pytest.approx(5.0)),
        (1, pytest.approx(10.0)),
        (2, pytest.approx(40.0)),
        (3, pytest.approx(45.0)),
    ]
    assert [point.front for point in found.points] == [True, True, True, False]
    assert [point.instead for point in found.points] == [False, True, False, False]
    assert found.unit == "seconds of fits and evaluations, all folds"
    assert found.finding == (
        "x=2 cost 10 s, 25 % of the best candidate's, and is not significantly different from the "
        "best (corrected resampled t-test, 5 folds)."
    )


def test_alternative_needs_as_good_an_average_with_few_folds():
    rows = [[0.70, 0.72, 0.74], [0.701, 0.722, 0.740], [0.701, 0.722, 0.740]]
    found = cost(context(grid(x=[1, 2, 3]), rows, seconds=[1.0, 8.0, 2.0]))
    assert [point.candidate for point in found.points if point.instead] == [2]
    assert found.finding == "x=3 cost 6.0 s, 25 % of the best candidate's, and is as good."
    only_cheaper = cost(context(grid(x=[1, 2]), rows[:2], seconds=[1.0, 8.0]))
    assert not any(point.instead for point in only_cheaper.points)
    assert only_cheaper.finding == "The best candidate cost 24 s; no cheaper one is as good."


def test_cost_figure_uses_executor_time_if_known():
    found = cost(
        context(grid(x=[1, 2]), [[0.1, 0.2], [0.2, 0.3]], run_times=[1500, 4000], seconds=1.0)
    )
    assert [point.seconds for point in found.points] == [3.0, 8.0]
    assert found.unit.startswith("seconds of executors")


def test_truncated_names_stay_unique():
    texts = ["x" * 100 + str(i) for i in range(3)]
    found = context([{"a": t} for t in texts], [[0.1, 0.2]] * 3)
    names = [found.short_names[1][i] for i in range(3)]
    assert len(set(names)) == 3
    assert all(len(name) <= 44 for name in names)
    assert names[0].startswith("#0 a=xxx")


def test_levels_without_scores_are_ignored():
    maps = grid(x=[1, 2, 3], y=[1, 2])
    rows = [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [0.1, None], [0.1, None]]
    found = importance(context(maps, rows, end=FAILURE))
    shares = {each.params: each.share for each in found.shares}
    assert shares[("x",)] == pytest.approx(0.8)
    assert shares[("y",)] == pytest.approx(0.2)
    assert not found.exact
    assert found.caveat.startswith("Approximate: some candidates have no score")


def test_trend_of_many_values_uses_bins():
    maps = [{"x": float(i)} for i in range(60)]
    panel = params(context(maps, [[i % 2 + i / 100] * 2 for i in range(60)])).panels[0]
    assert len(panel.levels) == 60
    assert [mean for _, mean in panel.trend] == [
        pytest.approx(0.5 + (10 * group + 4.5) / 100) for group in range(6)
    ]


def test_long_numbers_are_shortened_on_axes():
    panel = params(context(grid(x=[0.123456789, 2.5]), [[0.1, 0.2], [0.2, 0.4]])).panels[0]
    assert [level.short for level in panel.levels] == ["0.1235", "2.5"]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_shares_do_not_depend_on_scale(scale):
    maps = grid(x=[-1, 1], y=[-1, 1])
    found = importance(context(maps, [[scale * (2 * m["x"] + m["y"])] * 2 for m in maps]))
    assert found.shares[0].share == pytest.approx(0.8)


def trained(rows, train_rows, **changes):
    further = {"train_weightedPrecision": train_rows}
    return context(grid(x=range(len(rows))), rows, further=further, **changes)


def test_training_figure_runs_from_underfitting_to_overfitting():
    found = training(trained([[0.8], [0.9], [0.6], [0.5]], [[0.9], [1.0], [0.625], [1.0]]))
    assert [row.candidate for row in found.rows] == [2, 0, 3, 1]
    assert [(row.training, row.validation) for row in found.rows[:2]] == [(0.625, 0.6), (0.9, 0.8)]
    assert [row.best for row in found.rows] == [False, False, False, True]
    assert found.finding == (
        "The best candidate scored 1.0000 on its training data, and 0.9000 on validation "
        "data. The gap is widest for x=3: 0.5000."
    )


def test_training_gap_follows_the_direction_of_the_metric():
    described = (FurtherMetric(name="train_weightedPrecision", larger_is_better=False),)
    changes = {"larger_is_better": False, "further_metrics": described}
    found = training(trained([[3.0], [2.0]], [[1.0], [1.5]], **changes))
    assert [row.candidate for row in found.rows] == [1, 0]
    assert "The gap is widest for x=0: 2.000." in found.finding
    found = training(trained([[1.0], [2.0]], [[1.0], [2.5]], **changes))
    assert "No candidate scored better on its training data." in found.finding


def test_training_figure_shows_the_best_fifty():
    rows = [[i / 100] for i in range(60)] + [[NAN], [0.5]]
    train_rows = [[1 - i / 100] for i in range(60)] + [[0.5], [NAN]]
    found = training(trained(rows, train_rows, best=59))
    assert {row.candidate for row in found.rows} == set(range(10, 60))
    assert found.rows[0].candidate == 59
    assert found.finding.endswith("The best 50 are shown.")


def test_training_figure_needs_training_scores():
    with pytest.raises(NotAskedFor, match=r"autolog\(train_scores=True\)"):
        training(context(grid(x=[1, 2]), [[0.1], [0.2]]))
    with pytest.raises(NothingToDraw, match="No candidate has both"):
        training(trained([[0.1], [0.2]], [[NAN], [None]]))
    with pytest.raises(NothingToDraw, match="No candidate has a score"):
        training(trained([[NAN], [NAN]], [[0.1], [0.2]]))
