"""First steps of README and of the tutorial, in environments with nothing else installed.

pip resolves the packages anew, as it does for a newcomer, so a release that breaks the first steps
fails here.
"""

from __future__ import annotations

import json
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
# Run with the MLflow that wrote the database, which may have a newer schema.
LOOK = """
import json
from mlflow import MlflowClient

client = MlflowClient("sqlite:///mlflow.db")
experiments = [each.experiment_id for each in client.search_experiments()]
runs = [
    {
        "id": run.info.run_id,
        "status": run.info.status,
        "parent": run.data.tags.get("mlflow.parentRunId"),
        "maxDepth": run.data.params.get("maxDepth"),
        "average": run.data.metrics.get("avg_accuracy"),
        "files": [file.path for file in client.list_artifacts(run.info.run_id, "trackmllib")],
    }
    for run in client.search_runs(experiments)
]
print(json.dumps(runs))
"""


def blocks(file: str, kind: str, heading: str = "") -> list[str]:
    """The blocks of code of one kind in a file, or in one section of it."""
    text = (ROOT / file).read_text()
    if heading:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


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
    for name in ("pyproject.toml", "README.md", "LICENSE"):
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
    (line,) = blocks("README.md", "console", "Install and start recording")
    assert line.startswith("pip install ")
    assert line.endswith(" mlflow\n")
    return line.strip()


def test_readme_program_runs_without_full_mlflow(empty, env, server_uri):
    (program,) = blocks("README.md", "python", "Install and start recording")
    (empty / "job.py").write_text(program)
    server = Store(server_uri, "newcomer")
    server.client.create_experiment("newcomer")
    remote = {"MLFLOW_TRACKING_URI": server_uri, "MLFLOW_EXPERIMENT_NAME": "newcomer"}
    shell("python job.py", empty, {**env, **remote}, RUNNING)
    parent = server.only_parent_run()
    children = server.children(parent)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 4
    assert "report.html" in server.files(parent)


def test_readme_program_runs_on_default_store(clone, empty, env):
    (program,) = blocks("README.md", "python", "Install and start recording")
    (empty / "job.py").write_text(program)
    shell(installing(), clone, env, INSTALLING)
    where = 'python -c "import trackmllib; print(trackmllib.__file__)"'
    assert shell(where, empty, env, RUNNING).startswith(str(clone.parent / "tutorial/.venv"))
    shell("python job.py", empty, env, RUNNING)
    (empty / "look.py").write_text(LOOK)
    runs = json.loads(shell("python look.py", empty, env, RUNNING))
    (parent,) = [run for run in runs if run["parent"] is None]
    children = [run for run in runs if run["parent"] == parent["id"]]
    assert len(runs) == 1 + len(children)
    assert {run["status"] for run in runs} == {"FINISHED"}
    found = {run["maxDepth"]: run["average"] for run in children}
    assert found.keys() == {"1", "2", "4"}
    assert None not in found.values()
    assert "trackmllib/report.html" in parent["files"]


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
