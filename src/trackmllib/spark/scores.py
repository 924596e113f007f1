"""What Spark makes of the scores: averages, deviations, the winner, by Spark's own code.

Known before the model exists, and equal to what the model will hold to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pyspark.ml.tuning import CrossValidator


def average_and_deviation(scores: Sequence[Any], candidates: int) -> tuple[Any, Any]:
    """Average and standard deviation over the folds of one of ``candidates`` candidates.

    Spark averages a table of folds x candidates along its first axis. How numpy adds up a column
    depends on whether the table has one column or several, never on how many.
    """
    columns = 1 if candidates == 1 else 2
    averages, deviations = CrossValidator._gen_avg_and_std_metrics(
        [[score] * columns for score in scores]
    )
    return averages[0], deviations[0]


def winner(scores: Sequence[Any], larger_is_better: bool) -> int:
    """Index of the best score as ``_fit`` chooses it; of equal ones the first, and NaN wins."""
    return int(np.argmax(scores) if larger_is_better else np.argmin(scores))
