"""What recording needs of other packages: not more than README says."""

from __future__ import annotations

import subprocess
import sys

# As it is after pip install "trackmllib[spark]": mlflow-skinny brings none of these.
CODE = """
import sys
for name in ("pandas", "matplotlib", "sqlalchemy", "sklearn", "grpc"):
    sys.modules[name] = None
import trackmllib
trackmllib.autolog()
from pyspark.ml.tuning import CrossValidator
from trackmllib.patching import is_patched
assert is_patched(CrossValidator.fit)
"""


def test_recording_is_switched_on_without_what_mlflow_skinny_does_not_bring():
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
