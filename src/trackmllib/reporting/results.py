"""Results of a search for users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trackmllib.domain import ranking
from trackmllib.domain.descriptions import Json
from trackmllib.domain.naming import GridNames
from trackmllib.domain.search_state import SearchState
from trackmllib.domain.standard_error import standard_error
from trackmllib.reporting import table
from trackmllib.reporting.run_links import RunLinks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from trackmllib.reporting.figures.context import SearchContext


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best candidate of a search.

    ``params`` are its params with their values, ``folds`` the score of each fold, ``average`` and
    ``deviation`` (population standard deviation, as in ``model.stdMetrics``) are over the folds.
    ``standard_error`` is that of the average, shown after ±. What is unknown is None.
    """

    candidate: int
    params: dict[str, Json]
    average: float | None
    deviation: float | None
    standard_error: float | None
    folds: tuple[float | None, ...]
    run_id: str | None


class Results:
    """Results of one search, as of when you asked for them.

    ``trackmllib.results()`` and ``trackmllib.load_results()`` create it. ``print()`` shows the
    answer and the five best candidates; in the last line of a notebook cell, it is a table.

    Args:
        search: The state of the search.
        runs: Returns the runs that the server has created so far.

    Example:
        >>> res = trackmllib.results(model)
        >>> print(res.answer)
        maxDepth=4 is best: accuracy 0.842 ± 0.006 over 3 folds; ...
        >>> res.report("search.html")
    """

    def __init__(self, search: SearchState, runs: Callable[[], RunLinks] = RunLinks) -> None:
        self.search = search
        self.grid = GridNames(search.description.candidates)
        self._runs = runs

    @property
    def runs(self) -> RunLinks:
        """Runs of the search that the server has created so far.

        Returns:
            An object with ``parent`` (a run id), ``children`` (run ids by candidate),
            ``experiment_id`` and ``tracking_uri``; what is unknown is None or missing.
            ``page(candidate)`` is the address of a run in the MLflow UI, or None without a UI.
        """
        return self._runs()

    @property
    def best(self) -> Best | None:
        """The candidate that Spark chose, or else the best complete one, or None.

        Spark chooses the first of equal candidates, and ranks NaN above all numbers, so ``average``
        may be NaN.

        Returns:
            An object with ``candidate`` (its index in the grid), ``params`` (typed values by name),
            ``average`` and ``deviation`` (population standard deviation) over the folds,
            ``standard_error`` of the average, ``folds`` (one score each) and ``run_id``; what is
            unknown is None. None while no candidate has all its scores, and if the model of the
            tuner does not show its choice.

            For k folds, ``standard_error`` is ``deviation * sqrt(2 * k - 1) / (k - 1)``: corrected
            for the training data that folds share (Nadeau and Bengio, "Inference for the
            Generalization Error", Machine Learning 52, 2003).
        """
        index = ranking.best(self.search)
        if index is None or index not in self.search.candidates:
            return None
        found = self.search.candidates[index]
        params = self.search.description.candidates[index].params
        return Best(
            candidate=index,
            params={self.grid.key(param): param.value.data for param in params},
            average=found.average,
            deviation=found.deviation,
            standard_error=standard_error(self.search, found.deviation),
            folds=tuple(found.fold_score(fold) for fold in range(self.search.folds)),
            run_id=self.runs.children.get(index),
        )

    @property
    def answer(self) -> str:
        """One sentence that says which candidate is best, and how certain that is.

        ± is the standard error of the average (see ``best``). With five or more folds, the sentence
        counts the candidates that are not significantly different from the best.

        Returns:
            The sentence; for a search without scores, it says so.
        """
        return self._context().answer.sentence

    def to_pandas(self) -> pd.DataFrame:
        """A table with a row for each candidate of the grid, by its index.

        Columns:

        * ``candidate``
        * ``params.<key>``: the value, missing where the candidate does not set it. Whole numbers
          are ``int64``, or ``Int64`` if some are missing; stages and vectors are dicts.
        * ``status``: ``SCHEDULED``, ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``
        * ``fold_0`` and so on: the scores
        * ``average`` and ``deviation`` (population standard deviation) over the folds
        * ``rank`` from 1, by ``average``; equal averages have the same rank
        * ``seconds`` of all fits and evaluations
        * ``resumed``: the number of reused scores, if there are any
        * ``fold_0.<metric>`` and so on, ``avg_<metric>`` and ``std_<metric>`` for each further
          metric (``autolog(metrics=…)``), ``train_<metric>`` included (``train_scores=True``)
        * ``spark.<name>`` in Spark's units, if costs are known
        * ``run_id``, missing until the server has created the child run

        Returns:
            The table, with as many rows as the grid has candidates.

        Raises:
            trackmllib.DependencyError: pandas is missing.

        Example:
            >>> table = trackmllib.results(model).to_pandas()
            >>> table[["params.maxDepth", "average", "deviation", "rank"]]
        """
        from trackmllib.reporting import optional_packages

        optional_packages.require(["pandas"], "A pandas DataFrame")
        from trackmllib.reporting.dataframe import dataframe

        return dataframe(table.rows(self.search, self.grid, self.runs))

    def plot(self, kind: str = "scores") -> Figure:
        """Draw a figure with matplotlib.

        A notebook shows it, and ``savefig`` writes it to a file.

        Args:
            kind: ``scores`` (each candidate with its folds, best first), ``training`` (training
                against validation score, with ``autolog(train_scores=True)``), ``params`` (score
                over each param), ``heatmaps`` (score over two params), ``parallel`` (all params),
                ``importance`` (what drives the score), ``timeline`` (when each fit ran) or ``cost``
                (seconds against score).

        Returns:
            A matplotlib figure.

        Raises:
            ValueError: The kind is unknown, or the search has no data for the figure.
            trackmllib.DependencyError: matplotlib is missing.

        Example:
            >>> trackmllib.results(model).plot("timeline").savefig("timeline.pdf")
        """
        from trackmllib.reporting import figure_kinds

        figure: Figure = figure_kinds.figure(self._context(), kind)
        return figure

    def report(self, path: str | Path) -> Path:
        """Write the report, a self-contained HTML page, and return its path.

        Args:
            path: The file, which is overwritten.

        Returns:
            The path of the file.

        Raises:
            OSError: The file cannot be written.
            trackmllib.DependencyError: jinja2 or matplotlib is missing.

        Example:
            >>> trackmllib.results(model).report("search.html")
            PosixPath('search.html')
        """
        from trackmllib.reporting import report

        path = Path(path)
        path.write_text(report.html(self._context(), self.runs), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        from trackmllib.reporting import text_repr

        return text_repr.text(self._context())

    def _repr_html_(self) -> str:
        from trackmllib.reporting import notebook_repr

        return notebook_repr.html(self._context(), self.runs)

    def _context(self) -> SearchContext:
        from trackmllib.reporting.figures.context import SearchContext

        return SearchContext(self.search, self.grid)
