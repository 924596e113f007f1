"""What tracking costs: ``python -m benchmarks``, one file for each question."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The stores, servers and stubs of the tests, here and in the processes that are started from here.
_ROOT = Path(__file__).resolve().parent.parent
_PATHS = [str(_ROOT), str(_ROOT / "tests"), str(_ROOT / "src")]
sys.path[:0] = _PATHS
if "pytest" not in sys.modules:
    # Where its parts are tested, what the tests start is as without them.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*_PATHS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    )
    # Before MLflow is imported: what is measured here is nobody's usage of it.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
