"""``python -m benchmarks [--smoke] [--only NAME] [--profile]``"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The stores, servers and stubs of the tests, here and in the processes that are started from here.
ROOT = Path(__file__).resolve().parent.parent
PATHS = [str(ROOT), str(ROOT / "tests"), str(ROOT / "src")]
sys.path[:0] = PATHS
os.environ["PYTHONPATH"] = os.pathsep.join(
    [*PATHS, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
)
# Before MLflow is imported: what is measured here is nobody's usage of it.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from benchmarks.runner import main  # noqa: E402 - only now are they found

if __name__ == "__main__":
    sys.exit(main())
