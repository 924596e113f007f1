"""Description of a call ``evaluator.evaluate(model.transform(data))``."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.domain.descriptions import Component, Dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Result of a call, by the evaluator's metric and the name of the data.

    ``predictions`` and ``schema`` describe what ``transform`` returned; None and empty unless
    datasets are logged.
    """

    metric: str
    value: float
    dataset_name: str
    evaluator: Component
    predictions: Dataset | None = None
    schema: tuple[tuple[str, str], ...] = ()
