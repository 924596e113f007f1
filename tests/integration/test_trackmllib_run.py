"""Unchanged programs under ``trackmllib run``, on real Spark."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import TRACKMLLIB, environ, finished
from support.mlflow_reader import Store

ROOT = Path(__file__).parents[2]

# A user's program, which mentions neither MLflow nor trackmllib.
SEARCH = '''
"""Searches three candidates; prints the imports of Spark's workers and the driver."""

import json
import sys


def ours():
    return sorted({name.partition(".")[0] for name in sys.modules} & {"mlflow", "trackmllib"})


def main():
    assert "mlflow" not in sys.modules
    from pyspark.sql import SparkSession

    from support.searches import stub_search

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    model = stub_search(numFolds=2).fit(spark.range(20))
    (workers,) = spark.sparkContext.parallelize([0], 1).map(lambda _: ours()).collect()
    spark.stop()
    result = {"averages": list(model.avgMetrics), "workers": workers, "driver": ours()}
    print(json.dumps({**result, "arguments": sys.argv[1:]}), flush=True)
'''

FILES = {
    "team.py": SEARCH,
    "job.py": "import team\nteam.main()\nraise SystemExit(3)\n",
    # The search runs in a child process.
    "package/__init__.py": "",
    "package/__main__.py": """
import subprocess, sys
status = subprocess.run([sys.executable, "job.py", *sys.argv[1:]]).returncode
assert not {"pyspark", "mlflow"} & set(sys.modules)
raise SystemExit(status)
""",
    "test_job.py": """
import team

def test_the_search(capfd):
    with capfd.disabled():
        team.main()
""",
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The current folder, and ``trackmllib``, ``pytest`` and ``spark-submit`` on PATH."""
    for name, text in FILES.items():
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    command = tmp_path / "bin/trackmllib"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexec " + " ".join(map(_quoted, TRACKMLLIB)) + ' "$@"\n')
    command.chmod(0o755)
    folders = (str(command.parent), os.path.dirname(sys.executable), os.environ["PATH"])
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def _quoted(word: str) -> str:
    return "'" + word + "'"


def documented(start: str) -> str:
    """Return the command of docs/how-to/switch-it-on.md that starts with this text."""
    text = (ROOT / "docs/how-to/switch-it-on.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    (line,) = [line for line in "".join(blocks).splitlines() if line.startswith(start)]
    return line


def ways_of_readme() -> list[str]:
    """Return README's blocks that start recording without a call."""
    section = (ROOT / "README.md").read_text().partition("## Switch it on")[2]
    return re.findall(r"```text\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)


@pytest.mark.parametrize(
    ("start", "status", "arguments"),
    [
        ("trackmllib run job.py", 3, ["--rows", "10"]),
        ("trackmllib run -m package", 3, ["--rows", "10"]),
        ("trackmllib run -- spark-submit job.py", 3, ["--rows", "10"]),
        ("trackmllib run -- pytest", 0, []),
    ],
)
def test_commands_in_the_docs_record_the_search(project, store, start, status, arguments):
    env = environ(
        ROOT / "tests",
        MLFLOW_TRACKING_URI=store.uri,
        MLFLOW_EXPERIMENT_NAME=store.experiment,
    )
    done = finished(["sh", "-c", documented(start)], env, seconds=240)
    assert done.returncode == status, done.stdout + done.stderr
    # pytest prints the name of the file before it.
    (line,) = re.findall(r"\{.*\}", done.stdout)
    result = json.loads(line)
    assert result["arguments"] == arguments
    assert result["driver"] == ["mlflow", "trackmllib"]
    assert result["workers"] == []
    assert_recorded(store, result["averages"])
    assert "TRACKMLLIB" not in done.stderr


def test_commands_in_readme_record_the_search(project, sqlite_uri, tmp_path):
    """Runs each block in a shell; the image has its own ``sitecustomize``."""
    by_command, by_hook = ways_of_readme()
    image = tmp_path / "image"
    image.mkdir()
    (image / "sitecustomize.py").write_text("image = 1\n")
    (project / "job.py").write_text("import team\nteam.main()\n")
    for way, block, folders, searches in (
        ("command", by_command, [], 2),
        ("hook", by_hook, [image], 1),
    ):
        experiment = f"README by {way}"
        env = environ(
            *folders,
            ROOT / "tests",
            MLFLOW_TRACKING_URI=sqlite_uri,
            MLFLOW_EXPERIMENT_NAME=experiment,
        )
        done = finished(["sh", "-ec", block], env, seconds=240)
        assert done.returncode == 0, done.stdout + done.stderr
        results = [json.loads(line) for line in re.findall(r"\{.*\}", done.stdout)]
        found = Store(sqlite_uri, experiment)
        parents = sorted(found.parent_runs(), key=lambda run: run.info.start_time)
        assert len(results) == len(parents) == searches
        for parent, one in zip(parents, results, strict=True):
            averages = [child.data.metrics["avg_stub"] for child in found.children(parent)]
            assert averages == one["averages"]


def assert_recorded(store: Store, averages: list[float]) -> None:
    parent = store.only_parent_run()
    assert parent.info.status == "FINISHED"
    children = store.children(parent)
    assert [child.data.metrics["avg_stub"] for child in children] == averages
    assert {child.info.status for child in children} == {"FINISHED"}


def test_commands_in_the_docs_for_images_work_in_a_shell(project, tmp_path):
    """Runs ``install-hook``, the variable and ``--remove`` in the documented order."""
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("image = 1\n")
    module = "trackmllib.integrations.process_startup"
    look = f"{_quoted(sys.executable)} -c \"import sys; print('{module}' in sys.modules)\""
    install, remove = "trackmllib install-hook", documented("trackmllib install-hook --remove")
    text = (ROOT / "docs/how-to/switch-it-on.md").read_text()
    assert f"```console\n{install}\n```" in text
    script = "\n".join(
        [install, look, documented("export TRACKMLLIB_AUTOLOG=1"), look, remove, look]
    )
    done = subprocess.run(
        ["sh", "-ec", script],
        env=environ(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = [line for line in done.stdout.splitlines() if line in ("True", "False")]
    assert answers == ["False", "True", "False"]
    assert (folder / "sitecustomize.py").read_text() == "image = 1\n"
