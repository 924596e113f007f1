"""First steps of the tutorial, and README without full MLflow, in an environment of their own.

``make package`` runs README's example with full MLflow, from the wheel.

pip resolves the packages anew, as it does for a newcomer, so a release that breaks the first steps
fails here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from support.commands import finished
from support.mlflow_reader import Store

pytestmark = pytest.mark.timeout(1800)

ROOT = Path(__file__).parents[2]
INSTALLING = 1200.0
RUNNING = 300.0


def blocks(file: str, kind: str) -> list[str]:
    """The blocks of code of one kind in a file."""
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


def shell(script: str, folder: Path, env: dict[str, str], seconds: float) -> str:
    """Run a shell script to its end and return its output."""
    done = finished(["sh", "-ec", script], env, seconds, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The files of a clone that the package needs, in a folder called ``trackmllib``."""
    folder = tmp_path_factory.mktemp("newcomer") / "trackmllib"
    folder.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def env(clone) -> dict[str, str]:
    """The environment of a user with Python and Java, and no variables of Spark or MLflow.

    It has an environment where README's line without ``mlflow`` was run.
    """
    kept = ("HOME", "JAVA_HOME", "LANG", "TMPDIR")
    venv = clone.parent / "tutorial/.venv"
    env = {
        **{k: v for k, v in os.environ.items() if k in kept or k.startswith("PIP_")},
        "PATH": os.pathsep.join((str(venv / "bin"), os.environ["PATH"])),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TRACKMLLIB_HOME": str(clone.parent / "home"),
        # Reports take long on a busy machine.
        "TRACKMLLIB_FLUSH_TIMEOUT": str(RUNNING),
    }
    shell(f"{sys.executable} -m venv {shlex.quote(str(venv))}", clone, env, RUNNING)
    shell(installing().removesuffix(" mlflow"), clone, env, INSTALLING)
    assert "mlflow " not in shell("pip list", clone, env, RUNNING)
    return env


@pytest.fixture
def empty(clone, request) -> Path:
    """An empty folder beside the clone."""
    folder = clone.parent / request.node.name
    folder.mkdir()
    return folder


def installing() -> str:
    """README's line."""
    line = blocks("README.md", "console")[0].partition("#")[0].strip()
    assert line.startswith("pip install ")
    assert line.endswith(" mlflow")
    return line


def test_readme_program_runs_without_full_mlflow(empty, env, server_uri):
    program = blocks("README.md", "python")[0]
    (empty / "job.py").write_text(program)
    server = Store(server_uri, "newcomer")
    server.client.create_experiment("newcomer")
    remote = {"MLFLOW_TRACKING_URI": server_uri, "MLFLOW_EXPERIMENT_NAME": "newcomer"}
    shell("python job.py", empty, {**env, **remote}, RUNNING)
    parent = server.only_parent_run()
    children = server.children(parent)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 4
    assert "report.html" in server.files(parent)


def test_tutorial_runs_in_empty_folder(clone, env):
    """Runs the shell blocks of the tutorial in order, in the environment of README."""
    folder = clone.parent / "tutorial"
    script = "\n".join(blocks("docs/tutorial.md", "console"))
    assert script.startswith("python3 -m venv .venv\n")
    assert installing().replace(".[", "../trackmllib[") in script.splitlines()
    (program,) = blocks("docs/tutorial.md", "python")
    (folder / "tune.py").write_text(program)
    output = shell(script, folder, env, INSTALLING)
    # Printed by the program and by `trackmllib show`.
    assert output.count(" is best: accuracy 0.") == 2
    assert "<h1" in (folder / "search.html").read_text()
    # Commands that open pages in a browser.
    (ui,) = blocks("docs/tutorial.md", "text")
    assert shell(f"{ui.strip()} --help", folder, env, RUNNING)
