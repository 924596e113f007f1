"""What users get of a search: the best setting, a table, figures and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trackmllib.events import Json
from trackmllib.names import GridNames
from trackmllib.search_result import SearchResult
from trackmllib.view import table
from trackmllib.view.runs import Runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from trackmllib.view.figures.basis import Basis


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best setting of a search: its params with their values, the average and the standard
    deviation of its scores (None where there are none), the score of each fold, and the id of its
    run, None as long as it has none.
    """

    candidate: int
    params: dict[str, Json]
    average: float | None
    deviation: float | None
    folds: tuple[float | None, ...]
    run_id: str | None


class Results:
    """The results of one search, as they were when they were asked for.

    ``runs`` is asked for the ids of its runs whenever these are needed: they come from the server,
    later than the scores.
    """

    def __init__(self, search: SearchResult, runs: Callable[[], Runs] = Runs) -> None:
        self.search = search
        self.grid = GridNames(search.description.candidates)
        self._runs = runs

    @property
    def runs(self) -> Runs:
        """Where the runs of the search are; empty as long as the server has not said it."""
        return self._runs()

    @property
    def best(self) -> Best | None:
        """The setting that Spark took; while it has not, the best of those with all their scores.
        None where there is none.

        Spark takes the first of equal ones, and NaN for better than every number: ``average`` may
        be NaN.
        """
        index = self.search.best_so_far()
        if index is None or index not in self.search.candidates:
            return None
        found = self.search.candidates[index]
        settings = self.search.description.candidates[index].settings
        return Best(
            candidate=index,
            params={self.grid.key(setting): setting.value.data for setting in settings},
            average=found.average,
            deviation=found.deviation,
            folds=tuple(table.score(found, fold) for fold in range(self.search.folds)),
            run_id=self.runs.children.get(index),
        )

    @property
    def answer(self) -> str:
        """Which setting is best and by how much, in a sentence; ± is the standard deviation over
        the folds.
        """
        return self._basis().answer.sentence

    def to_pandas(self) -> pd.DataFrame:
        """A row for each candidate of the grid, by its number; also for those that have not begun.

        Columns: ``candidate``; ``params.<key>`` with the value itself, missing where a candidate
        does not set it (whole numbers are ``int64``, ``Int64`` where some are missing; stages and
        vectors are dicts); ``status`` (``SCHEDULED``, ``RUNNING``, ``FINISHED``, ``FAILED``,
        ``KILLED``); ``fold_0`` and so on with the scores; ``average`` and ``deviation`` over the
        folds; ``seconds`` of its fits and evaluations, all folds; ``resumed``, how many of the
        scores are of an earlier search, if any is; ``spark.<name>`` in Spark's own
        units where costs are known; ``run_id``. DependencyError without pandas.
        """
        from trackmllib.view import extras

        extras.need(["pandas"], "A table of pandas")
        from trackmllib.view.frame import frame

        return frame(table.rows(self.search, self.grid, self.runs))

    def plot(self, kind: str = "scores") -> Figure:
        """A figure of matplotlib: ``scores`` (every setting with its folds, best first), ``params``
        (the score over each param), ``heatmaps`` (over two params), ``parallel`` (all params
        together), ``importance`` (what drives the score), ``timeline`` (when each cell ran, in
        seconds) or ``cost`` (seconds against score).

        A notebook shows it where it ends a cell; ``savefig`` writes it to a file. ValueError for
        another kind, and where the search has nothing of that kind to draw: the message says why.
        DependencyError without matplotlib.
        """
        from trackmllib.view import draw

        made: Figure = draw.figure(self._basis(), kind)
        return made

    def report(self, path: str | Path) -> Path:
        """Write the report, one page of HTML that needs nothing else; gives its path back.

        OSError where it cannot be written, DependencyError without jinja2 and matplotlib.
        """
        from trackmllib.view import report

        path = Path(path)
        path.write_text(report.html(self), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        from trackmllib.view import in_text

        return in_text.summary(self._basis())

    def _repr_html_(self) -> str:
        from trackmllib.view import in_notebook

        return in_notebook.html(self._basis(), self.runs)

    def _basis(self) -> Basis:
        from trackmllib.view.figures.basis import Basis

        return Basis(self.search, self.grid)
