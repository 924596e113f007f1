"""Benchmarks of the costs of tracking, a file per question: ``python -m benchmarks``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The helpers of the tests, for this process and its child processes.
_ROOT = Path(__file__).resolve().parent.parent
_PATHS = [str(_ROOT), str(_ROOT / "tests"), str(_ROOT / "src")]
sys.path[:0] = _PATHS
if "pytest" not in sys.modules:
    # Under pytest, child processes keep the environment of the tests.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*_PATHS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    )
    # Before MLflow is imported, since benchmarks are no usage to report.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
