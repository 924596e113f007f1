"""What users get of a search: the best setting, a table, figures and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackmllib.events import Json
from trackmllib.names import GridNames
from trackmllib.search_result import SearchResult
from trackmllib.view.runs import Runs

if TYPE_CHECKING:
    import pandas as pd


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
    """The results of one search, as they are now.

    ``runs`` is asked for the ids of its runs whenever these are needed: they come from the server,
    later than the scores.
    """

    def __init__(self, search: SearchResult, runs: Callable[[], Runs] = Runs) -> None:
        self.search = search
        self.grid = GridNames(search.description.candidates)
        self._runs = runs

    @property
    def runs(self) -> Runs:
        return self._runs()

    @property
    def best(self) -> Best | None:
        raise NotImplementedError

    def to_pandas(self) -> pd.DataFrame:
        raise NotImplementedError

    def plot(self, kind: str = "scores") -> Any:
        raise NotImplementedError

    def report(self, path: str | Path) -> Path:
        raise NotImplementedError
