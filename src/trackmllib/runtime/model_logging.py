"""Logging of models, for the option ``log_models``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from trackmllib.domain.descriptions import Component, SearchDescription
from trackmllib.domain.events import ModelLogged
from trackmllib.domain.operations import child_run_tags
from trackmllib.outbox.relay import Relay
from trackmllib.recorder import child_runs
from trackmllib.runtime.active_searches import ActiveSearch, ActiveSearches
from trackmllib.runtime.event_pipeline import EventPipeline
from trackmllib.runtime.problems import Problems
from trackmllib.runtime.run_resolver import RunResolver
from trackmllib.runtime.user_warnings import UserWarnings
from trackmllib.spark.introspection.estimators import as_pipeline
from trackmllib.spark.introspection.input_columns import inputs_and_outputs
from trackmllib.support import formatting
from trackmllib.support.clock import Clock
from trackmllib.support.guard import attempt
from trackmllib.tracking import mlflow_autologging, models
from trackmllib.tracking.lazy_run import current_location
from trackmllib.tracking.logged_models import NewModel
from trackmllib.tracking.models import LoggedModel

# Params that name columns for the training only.
_TRAINING_COLUMNS = ("labelCol", "weightCol", "foldCol", "censorCol", "validationIndicatorCol")

_SWITCHED = (
    "mlflow.set_tracking_uri() or mlflow.set_workspace() was called during the search, and MLflow "
    "logs models only to the server and workspace that are set now"
)
_UNREACHABLE = "the tracking server does not answer"


class ModelLogger:
    """Logs models, on Spark's threads because only these can save a model."""

    def __init__(
        self,
        searches: ActiveSearches,
        runs: RunResolver,
        relay: Relay,
        pipeline: EventPipeline,
        clock: Clock,
        problems: Problems,
        user_warnings: UserWarnings,
    ) -> None:
        self._searches = searches
        self._runs = runs
        self._relay = relay
        self._pipeline = pipeline
        self._clock = clock
        self._problems = problems
        self._user_warnings = user_warnings
        self._lock = threading.Lock()

    def log_best(self, search_id: str, best: int | None, model: Any, data: Any) -> None:
        """Log the best model on the parent run, and register it if requested.

        If ``mlflow.autolog()`` has switched recording on, models are logged as MLflow does: the
        tuner's model as ``model``, and its best model as ``best_model``.

        :param best: The candidate that won, if known.
        :param model: The model of the tuner.
        """
        what = "the best model"
        search = self._search_in_mlflow(search_id)
        if search is None:
            return
        as_mlflow = search.settings.from_mlflow
        if as_mlflow and not self._is_logged_by_mlflow(search, model):
            return
        run_id = self._run_id(search, None, what)
        if run_id is None:
            return
        try:
            name = models.free_name(run_id, self._runs.experiment_id(search_id), search_id)
        except Exception as error:  # noqa: BLE001 - the server's
            self._add_not_logged(search, what, formatting.error_summary(error))
            return
        if as_mlflow:
            logged = self._log_as_mlflow(search, model, data, run_id, name)
        else:
            new = self._new(search, run_id, best, name)
            logged = self._log(search, what, model.bestModel, data, new)
        if logged is None:
            return
        self._logged(search, logged)
        registered_name = search.settings.registered_model_name
        if registered_name is not None:
            try:
                models.register(logged.uri, registered_name)
            except Exception as error:  # noqa: BLE001 - the server's; the model is logged
                self._problems.add(
                    search_id,
                    f"the best model is not registered as {registered_name!r}: "
                    f"{formatting.error_summary(error)}",
                )

    def log_fit(self, search_id: str, candidate: int, fold: int, model: Any, data: Any) -> None:
        """Log the model of a fit on the child run of its candidate."""
        what = f"the model of candidate {candidate}, fold {fold},"
        search = self._search_in_mlflow(search_id)
        if search is None:
            return
        run_id = self._run_id(search, candidate, what)
        if run_id is None:
            return
        name = f"{models.NAME}_fold_{fold}"
        new = self._new(search, run_id, candidate, name, fold)
        logged = self._log(search, what, model, data, new)
        if logged is not None:
            self._logged(search, logged, candidate, fold)
            self._warn_of_size(search, logged)

    def _is_logged_by_mlflow(self, search: ActiveSearch, model: Any) -> bool:
        """Whether MLflow's autologging would log the model of a search."""
        if search.state.description.mlflow is None:
            return False
        is_logged = mlflow_autologging.logs_model(model)
        if not is_logged:
            kind = type(model.bestModel).__name__
            self._user_warnings.warn_once(
                [
                    f"The {kind} of the search is not logged, because it is not on MLflow's model "
                    "allowlist; the training is not affected. To log it, call "
                    "mlflow.spark.log_model(), or pass log_model_allowlist to "
                    "mlflow.pyspark.ml.autolog()."
                ],
                search.settings,
            )
        return is_logged

    def _log_as_mlflow(
        self, search: ActiveSearch, model: Any, data: Any, run_id: str, name: str
    ) -> LoggedModel | None:
        def log() -> LoggedModel:
            inputs, outputs = self._inputs_and_outputs(search, model.bestModel, data)
            return models.log_as_autologging(
                model,
                inputs,
                outputs,
                run_id,
                name,
                with_signature=mlflow_autologging.config().get("log_model_signatures", True),
                with_example=search.settings.log_input_examples,
            )

        return self._attempt(search, "the model", data, log)

    def _search_in_mlflow(self, search_id: str) -> ActiveSearch | None:
        search = self._searches.get(search_id)
        return search if search is not None and self._searches.is_in_mlflow(search_id) else None

    def _run_id(self, search: ActiveSearch, candidate: int | None, what: str) -> str | None:
        """Id of the run for a model; None after adding a problem."""
        search_id = search.search_id
        if not self._runs.is_at(search_id, current_location()):
            self._add_not_logged(search, what, _SWITCHED)
            return None
        run_id = self._runs.run_id(search_id, candidate)
        if run_id is None or self._relay.last_error(search_id) is not None:
            self._add_not_logged(search, what, _UNREACHABLE)
            return None
        return run_id

    def _new(
        self,
        search: ActiveSearch,
        run_id: str,
        candidate: int | None,
        name: str,
        fold: int | None = None,
    ) -> NewModel:
        """Model of a fit, or of the refit if ``fold`` is None."""
        tags = {"trackmllib.search_id": search.search_id}
        params: dict[str, str] = {}
        if candidate is not None:
            tags.update(child_run_tags(search.search_id, candidate))
            params.update(child_runs.params(search.state, candidate))
        if fold is not None:
            tags["trackmllib.fold"] = str(fold)
        return NewModel(
            run_id=run_id,
            experiment_id=self._runs.experiment_id(search.search_id),
            name=name,
            step=fold or 0,
            params=params,
            tags=tags,
        )

    def _log(
        self, search: ActiveSearch, what: str, model: Any, data: Any, new: NewModel
    ) -> LoggedModel | None:
        def log() -> LoggedModel:
            inputs, outputs = self._inputs_and_outputs(search, model, data)
            with_example = search.settings.log_input_examples
            pipeline = as_pipeline(model)
            return models.log_model(
                model, pipeline, inputs, outputs, new, with_example=with_example
            )

        return self._attempt(search, what, data, log)

    def _inputs_and_outputs(self, search: ActiveSearch, model: Any, data: Any) -> tuple[Any, Any]:
        columns = sorted(set(_training_columns(search.state.description)))
        return inputs_and_outputs(model, data, columns)

    def _attempt(
        self, search: ActiveSearch, what: str, data: Any, log: Callable[[], LoggedModel]
    ) -> LoggedModel | None:
        try:
            return log()
        except Exception as error:  # noqa: BLE001 - Spark's, MLflow's, or of the user's stages
            reason = formatting.error_summary(error)
            if is_on_connect(data):
                reason = "MLflow cannot save it on Spark Connect"
            self._add_not_logged(search, what, reason)
            return None

    def _logged(
        self,
        search: ActiveSearch,
        logged: LoggedModel,
        candidate: int | None = None,
        fold: int | None = None,
    ) -> None:
        """Record the id of a logged model, so that its scores are added to it."""
        if logged.model_id is not None:
            event = ModelLogged(
                search_id=search.search_id,
                time_ms=self._clock.now_ms(),
                model_id=logged.model_id,
                candidate=candidate,
                fold=fold,
            )
            self._pipeline.record(event, search.settings)

    def _warn_of_size(self, search: ActiveSearch, logged: LoggedModel) -> None:
        """Warn of the total size of all models, estimated from the first one."""
        with self._lock:
            if search.warned_of_model_size:
                return
            search.warned_of_model_size = True
        description = search.state.description
        number = len(description.candidates) * description.folds
        size = attempt(lambda: models.size(logged), 0)
        one, total = formatting.size(size), formatting.size(size * number)
        self._user_warnings.warn(
            f'log_models="all" logs the {formatting.count(number, "model")} of this search: the '
            f"first one takes {one}, so all of them take about {total}.",
            search.settings,
        )

    def _add_not_logged(self, search: ActiveSearch, what: str, reason: str) -> None:
        self._problems.add(search.search_id, f"{what} is not logged: {reason}")


def is_on_connect(data: Any) -> bool:
    return ".connect." in type(data).__module__


def _training_columns(description: SearchDescription) -> Iterator[str]:
    for component in (description.tuner, description.estimator, description.evaluator):
        if component is not None:
            yield from _columns_of(component)


def _columns_of(component: Component) -> Iterator[str]:
    for param in component.params:
        if param.name in _TRAINING_COLUMNS and param.value.text:
            yield param.value.text
    for stage in component.stages:
        yield from _columns_of(stage)
