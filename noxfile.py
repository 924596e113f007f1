"""Runs a part of the tests with the pairs of pyspark and MLflow that are supported: make matrix.

Each pair is tested on one Python at least, and each Python with the oldest and the newest pair
that exists for it. A session takes the newest release of each line, and leaves what it found in
.matrix/, where tools/compatibility.py reads it. Pythons that the machine lacks are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

# pyspark 3.5 is made for Python up to 3.11 (later ones have no distutils), 4.3 for 3.11 and later.
COMBINATIONS = [
    ("3.10", "3.5", "2.22"),
    ("3.10", "4.0", "3.17"),
    ("3.10", "4.1", "3.17"),
    ("3.11", "3.5", "2.22"),
    ("3.11", "3.5", "3.17"),
    ("3.11", "4.1", "2.22"),
    ("3.11", "4.3", "3.17"),
    ("3.12", "4.0", "2.22"),
    ("3.12", "4.3", "2.22"),
    ("3.12", "4.3", "3.17"),
    ("3.13", "4.0", "2.22"),
    ("3.13", "4.1", "3.17"),
    ("3.13", "4.3", "3.17"),
]

# What these lines do not work with, though they do not say so.
LIMITS = {
    ("pyspark", "3.5"): ["pandas<2.3"],
    ("pyspark", "4.0"): ["pandas<3"],
    ("pyspark", "4.1"): ["pandas<3"],
    ("pyspark", "4.3"): ["pandas<3"],
    ("mlflow", "2.22"): ["sqlalchemy<2.1"],
    ("mlflow", "3.17"): [],
}

# What depends on how pyspark and MLflow are made, on real Spark, with SQLite and with a server.
TESTS = [
    f"tests/spark/test_{name}.py"
    for name in (
        "main_run",
        "child_runs",
        "several_searches",
        "nested",
        "calls_of_users",
        "mlflow_autolog",
        "future_pyspark",
    )
]

# Long ones that show nothing about versions which the others do not.
LEFT_OUT = "not (second_process or one_vs_rest_and)"

# The lines of other packages warn of each other. That is not ours to mend: both ends of the matrix
# are tested with warnings as errors.
OPTIONS = ["-W", "ignore", "-k", LEFT_OUT]

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
    """The tests with one pair on one Python."""
    session.install(
        ".",
        f"pyspark[ml]~={pyspark}.0",
        f"mlflow~={mlflow}.0",
        *LIMITS["pyspark", pyspark],
        *LIMITS["mlflow", mlflow],
        *("pytest", "pytest-timeout", "hypothesis"),
    )
    said = session.run("python", "-W", "ignore", "-c", VERSIONS, silent=True)
    versions = json.loads(str(said).strip().splitlines()[-1])
    RESULTS.mkdir(exist_ok=True)
    name = f"python{session.python}-spark{pyspark}-mlflow{mlflow}"
    report = RESULTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    # 1: some tests have failed. Then the others are told all the same, and the session fails below.
    session.run("pytest", *OPTIONS, f"--junitxml={report}", *TESTS, success_codes=[0, 1])
    (suite,) = ElementTree.parse(report).getroot()
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    passed = int(suite.get("tests", 0)) - failed - int(suite.get("skipped", 0))
    result = {"versions": versions, "passed": passed, "failed": failed}
    (RESULTS / f"{name}.json").write_text(json.dumps(result))
    if failed:
        session.error(f"{failed} tests failed")
