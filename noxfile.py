"""Runs some tests with each supported pair of pyspark and MLflow: make matrix.

Each pair runs on at least one Python, and each Python with its oldest and its newest pair. A
session installs the newest release of each line and writes its results to .matrix/, which
tools/compatibility.py reads. Missing Pythons are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

# pyspark 3.5 supports Python up to 3.11 (later ones lack distutils), 4.3 supports 3.11 and later.
COMBINATIONS = [
    ("3.10", "3.5", "2.22"),
    ("3.10", "4.0", "3.17"),
    ("3.10", "4.1", "3.17"),
    ("3.11", "3.5", "2.22"),
    ("3.11", "3.5", "3.17"),
    ("3.11", "4.0", "3.0"),
    ("3.11", "4.1", "2.22"),
    ("3.11", "4.3", "3.17"),
    ("3.12", "4.0", "2.22"),
    ("3.12", "4.3", "2.22"),
    ("3.12", "4.3", "3.17"),
    ("3.13", "4.0", "2.22"),
    ("3.13", "4.1", "3.17"),
    ("3.13", "4.3", "3.17"),
]

# Undeclared limits of these releases.
LIMITS = {
    ("pyspark", "3.5"): ["pandas<2.3"],
    ("pyspark", "4.0"): ["pandas<3"],
    ("pyspark", "4.1"): ["pandas<3"],
    ("pyspark", "4.3"): ["pandas<3"],
    ("mlflow", "2.22"): ["sqlalchemy<2.1"],
    ("mlflow", "3.0"): ["sqlalchemy<2.1"],
    ("mlflow", "3.17"): [],
}

# Long tests that add nothing about versions.
LEFT_OUT = "not (second_process or one_vs_rest_and)"

# Other packages warn of each other, which trackmllib cannot fix. Both ends of the matrix are tested
# with warnings as errors elsewhere.
OPTIONS = ["tests/spark", "-m", "matrix", "-W", "ignore", "-k", LEFT_OUT]

RESULTS = Path(".matrix").absolute()

VERSIONS = """
import json, platform, mlflow, pyspark
print(json.dumps([platform.python_version(), pyspark.__version__, mlflow.__version__]))
"""


@nox.session
@nox.parametrize(
    ("python", "pyspark", "mlflow"),
    COMBINATIONS,
    ids=[f"python{python}-spark{spark}-mlflow{mlflow}" for python, spark, mlflow in COMBINATIONS],
)
def matrix(session: nox.Session, pyspark: str, mlflow: str) -> None:
    """Run the tests with one pair on one Python."""
    session.install(
        ".",
        f"pyspark[ml]~={pyspark}.0",
        f"mlflow~={mlflow}.0",
        *LIMITS["pyspark", pyspark],
        *LIMITS["mlflow", mlflow],
        *("pytest", "pytest-timeout", "hypothesis"),
    )
    output = session.run("python", "-W", "ignore", "-c", VERSIONS, silent=True)
    versions = json.loads(str(output).strip().splitlines()[-1])
    RESULTS.mkdir(exist_ok=True)
    name = f"python{session.python}-spark{pyspark}-mlflow{mlflow}"
    report = RESULTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    # With failed tests (1), write the results first; the session fails below.
    session.run("pytest", *OPTIONS, f"--junitxml={report}", success_codes=[0, 1])
    (suite,) = ElementTree.parse(report).getroot()
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    passed = int(suite.get("tests", 0)) - failed - int(suite.get("skipped", 0))
    result = {"versions": versions, "passed": passed, "failed": failed}
    (RESULTS / f"{name}.json").write_text(json.dumps(result))
    if failed:
        session.error(f"{failed} tests failed")
