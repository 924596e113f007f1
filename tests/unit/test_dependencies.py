"""Packages that trackmllib imports, and when."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import trackmllib

pytestmark = pytest.mark.versions

# After pip install "trackmllib[spark]": mlflow-skinny requires none of these.
MINIMAL = """
import sys
for name in ("pandas", "matplotlib", "sqlalchemy", "sklearn", "grpc"):
    sys.modules[name] = None
import trackmllib
trackmllib.autolog()
from pyspark.ml.tuning import CrossValidator
from trackmllib.support.patching import is_patched
assert is_patched(CrossValidator.fit)
"""


@pytest.mark.slow
def test_autolog_needs_no_package_beyond_mlflow_skinny():
    done = subprocess.run(
        [sys.executable, "-c", MINIMAL], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "module",
    [
        "trackmllib",
        "trackmllib.integrations.mlflow_plugin",
        "trackmllib.integrations.process_startup",
        "trackmllib.cli",
    ],
)
def test_import_loads_no_slow_package(module):
    code = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    slow = {"pyspark", "mlflow", "pydantic", "matplotlib", "numpy", "pandas", "tqdm", "jinja2"}
    assert slow.isdisjoint(done.stdout.split())


def test_public_names_are_importable_and_listed():
    code = """
    import trackmllib
    assert set(trackmllib.__all__) <= set(dir(trackmllib))
    names = trackmllib.__all__
    from trackmllib import *
    print(*(name for name in names if globals()[name] is not getattr(trackmllib, name)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("\n", "")
    with pytest.raises(AttributeError, match="module 'trackmllib' has no attribute 'autologg'"):
        trackmllib.autologg  # noqa: B018
