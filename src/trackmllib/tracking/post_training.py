"""Registration of the models of searches for MLflow's post-training metrics.

With ``mlflow.pyspark.ml.autolog()`` on, MLflow logs what
``evaluator.evaluate(model.transform(data))`` returns on the run of ``model``. ``mute.py`` keeps
MLflow out of our searches, so their models are registered here, with the parent run, as MLflow's
``patched_fit`` does (``mlflow/pyspark/ml/__init__.py``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from mlflow.utils import autologging_utils

from trackmllib.guard import attempt
from trackmllib.patching import Patch
from trackmllib.tracking.mute import INTEGRATION

# The prefix of what MLflow gets in place of a run id, until the server has made the run.
_NOT_MADE = "trackmllib:"


class PostTrainingMetrics:
    """Registers models with MLflow; keeps a model until the server has made its parent run.

    ``run_id`` returns the parent run of a search, None while the server has not made it; ``wait``
    waits for that run, with a bound, and is called only in ``evaluate()``.
    """

    def __init__(
        self, run_id: Callable[[str], str | None], wait: Callable[[str], str | None]
    ) -> None:
        self._run_id = run_id
        self._wait = wait
        # The search of each model whose parent run does not exist yet.
        self._early: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._patches: list[Patch] = []

    def register(
        self, model: Any, search_id: str, run_id: str | None, *, is_run_of_user: bool
    ) -> None:
        """Register the model that ``fit()`` returns, if MLflow logs post-training metrics."""
        if not _is_on(is_run_of_user):
            return
        if run_id is not None:
            _manager().register_model(model, run_id)
            return
        self._early[model] = search_id
        if not self._patches:
            # Only here: MLflow's module for Spark is slow to import, and already imported by now.
            manager = type(_manager())
            self._patches = [
                Patch(manager, "get_run_id_for_model", self._of_model),
                Patch(
                    manager, "get_run_id_and_dataset_name_for_evaluator_call", self._of_prediction
                ),
            ]
        for patch in self._patches:
            patch.install()

    def uninstall(self) -> None:
        for patch in reversed(self._patches):
            patch.uninstall()

    def _of_model(self, original: Any, *args: Any) -> Any:
        """``get_run_id_for_model(model)``, a static method, called by ``transform``."""
        model = args[-1]
        found = original(model)
        search_id = attempt(lambda: self._early.get(model), None) if found is None else None
        if search_id is None:
            return found
        run_id = self._run_id(search_id)
        if run_id is None:
            return f"{_NOT_MADE}{search_id}"
        del self._early[model]
        _manager().register_model(model, run_id)
        return run_id

    def _of_prediction(self, original: Any, *args: Any) -> tuple[Any, Any]:
        """``get_run_id_and_dataset_name_for_evaluator_call``, called by ``evaluate``."""
        run_id, dataset_name = original(*args)
        if isinstance(run_id, str) and run_id.startswith(_NOT_MADE):
            search_id = run_id.removeprefix(_NOT_MADE)
            run_id = attempt(lambda: self._wait(search_id), None)
        return (None, None) if run_id is None else (run_id, dataset_name)


def _is_on(is_run_of_user: bool) -> bool:
    """Whether MLflow would register a model fitted now, if it were not muted.

    ``is_run_of_user``: the parent run is one that the user has started; in exclusive mode MLflow
    logs nothing there.
    """
    # Not by get_autologging_config, whose answer mute.py changes inside of a search.
    config = autologging_utils.AUTOLOGGING_INTEGRATIONS.get(INTEGRATION)
    if (
        not config
        or config.get("disable", True)
        or not config.get("log_post_training_metrics", True)
        or (is_run_of_user and config.get("exclusive", False))
        or autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED
    ):
        return False
    if config.get("disable_for_unsupported_versions", False) and not (
        autologging_utils.is_flavor_supported_for_associated_package_versions(INTEGRATION)
    ):
        return False
    return bool(_manager().should_log_post_training_metrics())


def _manager() -> Any:
    from mlflow.pyspark.ml import _AUTOLOGGING_METRICS_MANAGER

    return _AUTOLOGGING_METRICS_MANAGER
