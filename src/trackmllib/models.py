"""Which models of a search are kept, and on which run: those that ``log_models`` asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from trackmllib import plural
from trackmllib.events import Component, SearchDescription
from trackmllib.guard import attempt
from trackmllib.settings import Settings
from trackmllib.spark.inputs import inputs_and_outputs
from trackmllib.tracking import models

# Params that name a column which the training needs, and the model does not.
_OF_TRAINING = ("labelCol", "weightCol", "foldCol", "censorCol", "validationIndicatorCol")

# MLflow logs models only to the server and the workspace that its calls go to now.
_SWITCHED = (
    "mlflow.set_tracking_uri() or mlflow.set_workspace() was called during the search, and MLflow "
    "logs models only to the server and workspace that are set now"
)


class Models:
    """Logs models of one search, on Spark's threads: only there a model can be saved.

    ``run_id`` waits for the run of a candidate, or of the search; ``is_away`` says whether the
    server is away now, ``is_here`` whether MLflow's calls now go to the place of the search.
    ``problem`` is called with what went wrong, ``say`` with how much room the models take.
    """

    def __init__(
        self,
        search_id: str,
        settings: Settings,
        description: SearchDescription,
        run_id: Callable[[int | None], str | None],
        is_away: Callable[[], bool],
        is_here: Callable[[], bool],
        problem: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._search_id = search_id
        self._settings = settings
        self._description = description
        self._run_id = run_id
        self._is_away = is_away
        self._is_here = is_here
        self._problem = problem
        self._say = say
        self._lock = threading.Lock()
        self._measured = False

    def keep_best(self, model: Any, data: Any) -> None:
        """Log the model of the winner on the main run, and register it."""
        if not self._is_here():
            self._not_logged("the best model", _SWITCHED)
            return
        run_id = self._run_id(None)
        if run_id is None or self._is_away():
            self._not_logged("the best model", "the tracking server does not answer")
            return
        try:
            name = models.free_name(run_id, self._search_id)
        except Exception as error:  # noqa: BLE001 - the server's
            self._not_logged("the best model", _first(error))
            return
        if not self._log("the best model", model, data, name):
            return
        wanted = self._settings.registered_model_name
        if wanted is not None:
            try:
                models.register(run_id, name, wanted)
            except Exception as error:  # noqa: BLE001 - the server's; the model is logged
                self._problem(f"the best model is not registered as {wanted!r}: {_first(error)}")

    def keep_cell(self, candidate: int, fold: int, model: Any, data: Any) -> None:
        """Log the model of a cell on the child run of its candidate."""
        what = f"the model of candidate {candidate}, fold {fold},"
        if not self._is_here():
            self._not_logged(what, _SWITCHED)
            return
        run_id = self._run_id(candidate)
        if run_id is None or self._is_away():
            self._not_logged(what, "the tracking server does not answer")
            return
        name = f"{models.NAME}_fold_{fold}"
        if self._log(what, model, data, name):
            self._measure(run_id, name)

    def _log(self, what: str, model: Any, data: Any, name: str) -> bool:
        try:
            inputs, outputs = inputs_and_outputs(
                model, data, sorted(set(_columns_of_training(self._description)))
            )
            models.log_model(
                model,
                inputs,
                outputs,
                name=name,
                with_example=self._settings.log_input_examples,
            )
        except Exception as error:  # noqa: BLE001 - Spark's, MLflow's, or of the user's stages
            if ".connect." in type(data).__module__:
                self._not_logged(what, "MLflow cannot save it on Spark Connect")
            else:
                self._not_logged(what, _first(error))
            return False
        return True

    def _measure(self, run_id: str, name: str) -> None:
        """Say once how much room all of them take, if they are as large as the first one."""
        with self._lock:
            if self._measured:
                return
            self._measured = True
        number = len(self._description.candidates) * self._description.folds
        kept = plural.count(number, "model")
        size = attempt(lambda: models.size(run_id, name), 0)
        self._say(
            f'log_models="all" keeps the {kept} of this search: the first one takes '
            f"{_bytes(size)}, so all of them take about {_bytes(size * number)}."
        )

    def _not_logged(self, what: str, reason: str) -> None:
        self._problem(f"{what} is not logged: {reason}")


def _columns_of_training(description: SearchDescription) -> Iterator[str]:
    for component in (description.tuner, description.estimator, description.evaluator):
        if component is not None:
            yield from _in(component)


def _in(component: Component) -> Iterator[str]:
    yield from (p.value.text for p in component.params if p.name in _OF_TRAINING and p.value.text)
    for stage in component.stages:
        yield from _in(stage)


def _bytes(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def _first(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
