"""What users may ask for that changes how Spark computes a search: the shape of it.

An intervention stands around the function that lays out the cells of a fold, in a file of its own.
With none asked for, Spark's own code runs untouched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType
from typing import Any, Protocol, cast

from trackmllib.events import Earlier, SearchDescription, SharedStages
from trackmllib.guard import attempt
from trackmllib.settings import Settings
from trackmllib.stored_score import EarlierScores

Task = Callable[[], Any]
# Spark's pool iterates over them in a separate thread.
Tasks = Iterable[Task]
LayOut = Callable[["FoldCall"], list[Task]]


class Timer(Protocol):
    """The time of a cell, for who gives it so much and no more."""

    def stop(self) -> None:
        """What follows is no part of the cell."""
        ...

    def restart(self) -> None:
        """The time of the cell begins, or begins anew."""
        ...

    def check(self) -> None:
        """Raise if it is up."""
        ...


class CellAt(Protocol):
    """A cell, for an intervention that stands around it. ``candidate`` is None until it is known;
    ``tag`` is what its Spark jobs can be cancelled by.
    """

    @property
    def candidate(self) -> int | None: ...

    @property
    def tag(self) -> str: ...

    def time_by(self, timer: Timer | None) -> None:
        """Have its time measured by this."""
        ...

    def run(self) -> Any:
        """Compute it; again, for the same candidate, where it has been. Spark's own result."""
        ...

    def result(self, candidate: int, score: float) -> Any:
        """What Spark would have returned of it with this score, and without a model."""
        ...

    def tried(self, tries: int, error: BaseException) -> None:
        """Record that it has failed, and is tried again."""
        ...

    def skipped(self, candidate: int, error: Exception | None, counts_as: float) -> None:
        """Record that it has failed, or with no error that another cell of its candidate has, and
        that the search goes on.
        """
        ...


Compute = Callable[[CellAt], Any]


@dataclass(frozen=True, kw_only=True)
class FoldCall:
    """One call of Spark's ``_parallelFitTasks``: a fold, whose cells are to be laid out.

    ``order`` says in which order the candidates are taken, when the first one is; None leaves it
    to Spark. ``in_turn``: Spark receives the results in the order of the grid, whatever
    ``order`` is. ``prepare`` is called with a candidate before its cell, and is no part of it.
    ``taken`` are the scores of candidates that are not computed. ``compute`` gets each cell, and
    runs it; ``counts_as`` gets each score with its candidate, and returns what Spark is told in its
    place. ``loop`` is the number of loops over folds that Spark has begun in this search: a
    subclass may begin several.
    """

    estimator: Any
    train: Any
    evaluator: Any
    validation: Any
    maps: Sequence[Any]
    collects_models: bool
    order: Callable[[], Sequence[int]] | None = None
    in_turn: bool = True
    prepare: Callable[[int], None] | None = None
    taken: Mapping[int, Earlier] = field(default_factory=dict)
    compute: Compute | None = None
    counts_as: Callable[[int, float], float] | None = None
    loop: int = 0


class FoldData:
    """Stands for a data frame of Spark's loop over the folds, which caches it too early."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def cache(self) -> FoldData:
        return self

    def persist(self, *level: Any) -> FoldData:
        return self

    def unpersist(self, *blocking: Any) -> FoldData:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frame, name)


def of_frames(call: FoldCall) -> FoldCall:
    """A call with the data frames themselves, whatever stands for them."""
    train, validation = (
        data.frame if isinstance(data, FoldData) else data for data in (call.train, call.validation)
    )
    return replace(call, train=train, validation=validation)


def returning(result: Any) -> Task:
    """Create a task that returns a known result."""

    def returns() -> Any:
        return result

    return returns


def raising(error: BaseException) -> Task:
    """Create a task that raises a known error."""

    def raises() -> Any:
        raise error

    return raises


def let_go(*frames: Any) -> None:
    """Keep these no longer. What Spark raises then is no matter of the user's: it has been stopped,
    or its server is gone.
    """
    for frame in frames:
        with suppress(Exception):
            frame.unpersist()


class SearchIsOver(Exception):
    """Ends a cell of a search that is over; nobody sees it."""


class Intervention(ABC):
    """One of them, for one search; ``name`` is the option that asks for it."""

    name: str

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        """A description of the search that says what this will do: with the tuner as it is fitted,
        on this grid, or on its own where that is None.
        """
        return description

    def folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """The pairs of training and validation data that Spark has made, or what stands for them.

        Called in the thread of ``fit()``, before the first fold is laid out, with the tuner as it
        is fitted.
        """
        return folds

    @abstractmethod
    def lay_out(self, call: FoldCall, lay_out: LayOut) -> Tasks:
        """The tasks of a fold, made by ``lay_out``; called in the thread of ``fit()``."""

    def close(self) -> None:
        """The search is over, in whatever way: keep nothing. Cells may still run."""
        return


class SearchAt(Protocol):
    """What an intervention needs of the search that it is for."""

    # What the last cell of each candidate has taken, in seconds.
    seconds: dict[int, float]
    tuner: Any
    # The data that is searched on, and whether the search is inside of another one.
    data: Any
    is_inner: bool
    # Candidates that Spark must not choose in its current loop over the folds.
    cannot_win: set[int]

    @property
    def folds_begun(self) -> int:
        """How many folds are laid out by now."""
        ...

    def shared(self, fold: int, shared: SharedStages, seconds: float) -> None:
        """Stages were computed for several candidates at once."""
        ...

    def keyed(self, family: str, seeds: Mapping[str, int]) -> None:
        """Record by what later searches find the scores of this one."""
        ...

    def fold_keyed(
        self, fold: int, keys: Sequence[str], candidates: Sequence[str], parts: Mapping[str, str]
    ) -> None:
        """Record the keys of a fold's fits, by candidate, and their parts."""
        ...

    def earlier(self, family: str, keys: Collection[str]) -> EarlierScores:
        """Scores of earlier searches of this family."""
        ...

    def say(self, sentence: str) -> None:
        """Tell the user something, in one line, once in this process."""
        ...

    def tell(self, sentence: str) -> None:
        """Tell the user something of this search, in one line."""
        ...


class Interventions:
    """Those of one search, the outermost first."""

    def __init__(self, interventions: Sequence[Intervention]) -> None:
        self._interventions = tuple(interventions)
        self.names = " and ".join(one.name for one in interventions)
        self.have = "have" if len(interventions) > 1 else "has"
        # Whether Spark's own loop has come by.
        self.used = False
        # The frame of the current loop, and the number of loops so far.
        self._frame: FrameType | None = None
        self._loops = 0

    def describe(self, description: SearchDescription, tuner: Any, maps: Any) -> SearchDescription:
        for intervention in self._interventions:
            describe = partial(intervention.describe, description, tuner, maps)
            description = attempt(describe, description)
        return description

    def folds(self, tuner: Any, folds: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        for intervention in reversed(self._interventions):
            folds = intervention.folds(tuner, folds)
        return folds

    def lay_out(self, call: FoldCall, lay_out: LayOut, frame: FrameType) -> Tasks:
        """Lay out the tasks of a fold of the loop that runs in ``frame``."""
        self.used = True
        if frame is not self._frame:
            self._frame = frame
            self._loops += 1
        call = replace(call, loop=self._loops)
        for intervention in reversed(self._interventions):
            # Only the outermost may return an iterator instead of a list.
            lay_out = cast(LayOut, partial(intervention.lay_out, lay_out=lay_out))
        return lay_out(call)

    def close(self) -> None:
        self._frame = None
        with ExitStack() as stack:
            for intervention in self._interventions:
                stack.callback(intervention.close)


Make = Callable[[Settings, SearchAt], Intervention | None]
MakeInterventions = Callable[[Settings, SearchAt], Interventions | None]


def no_interventions(settings: Settings, search: SearchAt) -> None:
    """None at all."""
    return None


def those_asked_for(*makes: Make) -> MakeInterventions:
    """What makes the interventions that the settings of a search ask for, the outermost first."""

    def make(settings: Settings, search: SearchAt) -> Interventions | None:
        made = [one for one in (make(settings, search) for make in makes) if one is not None]
        return Interventions(made) if made else None

    return make
