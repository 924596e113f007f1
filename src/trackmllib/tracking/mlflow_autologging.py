"""MLflow's own Spark ML autologging, and what it logs for a search.

``mlflow.pyspark.ml.autolog()`` would start a run for every fit of a search. Its patches call
``get_autologging_config`` each time to find out whether they are disabled, so this module patches
that function for the threads of searches. MLflow's own functions compute what it would log
(``mlflow/pyspark/ml/__init__.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.utils import autologging_utils
from mlflow.utils.mlflow_tags import MLFLOW_AUTOLOGGING

from trackmllib.domain.descriptions import Dataset
from trackmllib.support.patching import Patch

INTEGRATION = "pyspark.ml"


@dataclass(frozen=True, kw_only=True)
class LoggedByMlflow:
    """Everything that MLflow logs for a search, with unchanged values.

    ``grid`` has the param map of each candidate, and ``children`` the params of its child run, up
    to the first candidate whose params MLflow cannot log.
    """

    params: dict[str, Any]
    tags: dict[str, str]
    info: dict[str, Any]
    child_tags: dict[str, str]
    grid: list[dict[str, Any]]
    children: list[dict[str, Any]]


def supports_installed_pyspark() -> bool:
    """Whether MLflow's autologging has been tested with this pyspark."""
    return bool(autologging_utils.is_flavor_supported_for_associated_package_versions(INTEGRATION))


def config() -> dict[str, Any]:
    """Arguments of the last ``mlflow.pyspark.ml.autolog()``, with defaults."""
    return autologging_utils.AUTOLOGGING_INTEGRATIONS.get(INTEGRATION) or {}


def is_in_fit() -> bool:
    """Whether MLflow is recording a fit, and so ignores all others."""
    from mlflow.pyspark.ml import _SparkTrainingSession

    return bool(_SparkTrainingSession.is_active())


def ignores_fits() -> bool:
    """Whether MLflow would not log a fit that starts now."""
    return is_in_fit() or autologging_utils._AUTOLOGGING_GLOBALLY_DISABLED


def logged_of(tuner: Any) -> LoggedByMlflow:
    """Collect what MLflow logs for a search.

    :param tuner: A copy, because MLflow sets an attribute.
    :raises Exception: The error with which MLflow's autologging would log nothing.
    """
    from mlflow.pyspark import ml

    metadata = ml._gen_estimator_metadata(tuner)
    names = metadata.uid_to_indexed_name_map
    estimator = tuner.getEstimator()
    info: dict[str, Any] = {"hierarchy": metadata.hierarchy}
    for each in metadata.param_search_estimators:
        info[names[each.uid]] = {
            "tuning_parameter_map_list": ml._get_tuning_param_maps(each, names),
            "tuned_estimator_parameter_map": ml._get_instance_param_map_recursively(
                each.getEstimator(), 1, names
            ),
        }
    children = []
    try:
        for param_map in tuner.getEstimatorParamMaps():
            children.append(ml._get_instance_param_map(estimator.copy(param_map), names))
    except Exception:  # noqa: BLE001 - MLflow stops there, too
        pass
    return LoggedByMlflow(
        params=ml._get_instance_param_map(tuner, names),
        tags=ml._get_estimator_info_tags(tuner),
        info=info,
        child_tags={MLFLOW_AUTOLOGGING: INTEGRATION, **ml._get_estimator_info_tags(estimator)},
        grid=ml._get_tuning_param_maps(tuner, names),
        children=children,
    )


def managed_run_tags() -> dict[str, Any]:
    """Tags of a run that MLflow's autologging creates."""
    return {**(config().get("extra_tags") or {}), MLFLOW_AUTOLOGGING: INTEGRATION}


def describe_dataset(data: Any) -> Dataset:
    """Describe a DataFrame as MLflow's autologging does, with a Spark job."""
    from mlflow.data.spark_dataset import SparkDataset

    described = SparkDataset(df=data, source=CodeDatasetSource({})).to_dict()
    return Dataset(
        digest=described["digest"],
        path=None,
        mlflow_schema=described["schema"],
        mlflow_profile=described["profile"],
    )


def logs_model(model: Any) -> bool:
    """Whether a model is on MLflow's model allowlist."""
    from mlflow.pyspark.ml import _should_log_model

    return bool(_should_log_model(model))


class AutologgingSuppressor:
    """The patch of ``get_autologging_config``.

    :param inside_search: Whether the current thread runs code of a search.
    """

    def __init__(self, inside_search: Callable[[], bool]) -> None:
        self._inside_search = inside_search
        self._patch = Patch(autologging_utils, "get_autologging_config", self._around)

    def install(self) -> None:
        self._patch.install()

    def uninstall(self) -> None:
        self._patch.uninstall()

    def _around(
        self, original: Any, flavor_name: str, config_key: str, *rest: Any, **named: Any
    ) -> Any:
        if flavor_name == INTEGRATION and config_key == "disable" and self._inside_search():
            return True
        return original(flavor_name, config_key, *rest, **named)
