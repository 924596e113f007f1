"""Names of post-training metrics, by the rules of MLflow's autologging.

With ``mlflow.pyspark.ml.autolog()``, MLflow logs what ``evaluator.evaluate(model.transform(data))``
returns on the run of ``model``, with requests in that call. It does not know the models of recorded
searches, whose metrics trackmllib delivers from the outbox. MLflow's own manager names them, so
that names do not collide with those of MLflow's other metrics of the same run
(``mlflow/pyspark/ml/__init__.py``).
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, NamedTuple

from mlflow.utils import autologging_utils

from trackmllib.domain.evaluations import Evaluation
from trackmllib.tracking.mlflow_autologging import config, supports_installed_pyspark


class LoggedMetric(NamedTuple):
    """Key of a metric, and the text of ``metric_info.json`` for its run."""

    key: str
    calls: str


class MetricNames:
    """Names of the metrics and data of one run.

    :param run: The id of the run if it is known, or else any text that names the run.
    """

    def __init__(self, run: str) -> None:
        self._run = run

    def dataset_name(self, dataset: Any) -> str:
        """Name of the user's variable, numbered if other data had that name.

        MLflow skips all calling functions that have ``dataset`` as an argument.
        """
        # MLflow reads the run from this attribute of a model.
        model = SimpleNamespace(_mlflow_run_id=self._run)
        return str(_mlflow().register_prediction_input_dataset(model, dataset))

    def metric(self, evaluation: Evaluation) -> LoggedMetric:
        """Name a metric, numbered if the run already has one of this name."""
        manager, evaluator = _mlflow(), evaluation.evaluator
        info = {
            "evaluator_class": f"{evaluator.module}.{evaluator.class_name}",
            "params": {param.name: param.value.data for param in evaluator.params},
        }
        key = manager.register_evaluator_call(
            self._run, evaluation.metric, evaluation.dataset_name, info
        )
        calls = [call for same in manager._evaluator_call_info[self._run].values() for call in same]
        text = json.dumps(dict(sorted(calls, key=lambda call: call[0])), indent=2)
        return LoggedMetric(str(key), text)


def is_logged_by_mlflow(*, is_run_of_user: bool) -> bool:
    """Whether MLflow would log post-training metrics, if it recorded searches.

    ``is_run_of_user``: the user has started the parent run. In exclusive mode MLflow logs nothing
    there.
    """
    given = config()
    if (
        not given
        or given.get("disable", True)
        or not given.get("log_post_training_metrics", True)
        or (is_run_of_user and given.get("exclusive", False))
        or autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED
    ):
        return False
    return not given.get("disable_for_unsupported_versions", False) or (
        supports_installed_pyspark()
    )


def are_datasets_logged_by_mlflow() -> bool:
    """Whether MLflow logs the data of post-training metrics, if it logs these."""
    return bool(config().get("log_datasets", True))


def _mlflow() -> Any:
    from mlflow.pyspark.ml import _AUTOLOGGING_METRICS_MANAGER

    return _AUTOLOGGING_METRICS_MANAGER
