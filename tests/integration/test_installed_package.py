"""``resume`` in new processes, after the package of the evaluator was installed again.

pip installs a real package into a folder of its own. The version of the package never changes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.commands import environ, finished

TESTS = Path(__file__).parents[1]
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "own-scores"
version = "1.0"
"""
PACKAGE = """
from pyspark.ml.evaluation import RegressionEvaluator


class OwnEvaluator(RegressionEvaluator):
    def _evaluate(self, dataset):
        return FACTOR * super()._evaluate(dataset)
"""


class Installation:
    """Package with one evaluator, and a folder into which pip installs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._source = folder / "source"
        self._target = folder / "site-packages"
        self._wheels = folder / "wheels"
        (self._source / "own_scores").mkdir(parents=True)
        (self._source / "pyproject.toml").write_text(PROJECT)

    def install(self, way: str, factor: float) -> None:
        """Install the package from its folder, its wheel, or by name from a folder of wheels."""
        code = PACKAGE.replace("FACTOR", str(factor))
        (self._source / "own_scores" / "__init__.py").write_text(code)
        if way != "folder":
            self._pip("wheel", "--wheel-dir", self._wheels, self._source)
        by_name = ["--find-links", self._wheels, "own-scores"]
        what = {
            "folder": [self._source],
            "wheel": list(self._wheels.glob("*.whl")),
            "index": by_name,
        }[way]
        self._pip("install", "--upgrade", "--target", self._target, *what)
        urls = list(self._target.glob("own_scores-1.0.dist-info/direct_url.json"))
        assert len(urls) == (way != "index")

    def search(self, **options: str) -> tuple[list[str], list[int], str]:
        """The averages and the reused scores of a search in a new process, and its warnings."""
        env = environ(
            self._target,
            TESTS,
            MLFLOW_TRACKING_URI=f"sqlite:///{self._folder}/mlflow.db",
            TRACKMLLIB_HOME=str(self._folder / "home"),
        )
        driver = str(Path(__file__).with_name("installed_package_driver.py"))
        done = finished([sys.executable, driver, json.dumps(options)], env, cwd=self._folder)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        return found["averages"], found["reused"], done.stderr

    def _pip(self, command: str, *arguments: Path | str) -> None:
        offline = ["--no-index", "--no-build-isolation", "--no-deps", "--quiet"]
        pip = [sys.executable, "-m", "pip", command, *offline, *map(str, arguments)]
        done = finished(pip, environ())
        assert done.returncode == 0, done.stderr


@pytest.fixture
def package(tmp_path) -> Installation:
    return Installation(tmp_path)


@pytest.mark.parametrize("way", ["folder", "wheel"])
def test_package_installed_from_a_file_is_user_code(package, way):
    package.install(way, 1.0)
    before, reused, _ = package.search()
    assert reused == [0, 0]
    package.install(way, 3.0)
    after, reused, warnings = package.search()
    assert reused == [0, 0]
    assert set(after).isdisjoint(before)
    assert "the class OwnEvaluator: trackmllib cannot tell whether your own code" in warnings


def test_package_installed_from_a_file_is_compared_by_code_version(package):
    package.install("folder", 1.0)
    before, reused, _ = package.search(code_version="1")
    assert reused == [0, 0]
    package.install("folder", 1.0)
    assert package.search(code_version="1")[:2] == (before, [2, 2])
    package.install("folder", 3.0)
    after, reused, _ = package.search(code_version="2")
    assert reused == [0, 0]
    assert set(after).isdisjoint(before)


def test_package_of_an_index_is_compared_by_its_files(package):
    package.install("index", 1.0)
    before, reused, _ = package.search()
    assert reused == [0, 0]
    package.install("index", 1.0)
    assert package.search()[:2] == (before, [2, 2])
    package.install("index", 3.0)
    after, reused, warnings = package.search()
    assert reused == [0, 0]
    assert "differs in the evaluator" in warnings
    assert set(after).isdisjoint(before)
