"""Installs the wheel in dist/ into empty environments, and runs README's first example there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Runs a program as Python does, and fails if trackmllib warned.
RUN = """
import logging, runpy
warnings = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger("trackmllib").addHandler(handler)
runpy.run_path("job.py", run_name="__main__")
assert not warnings, warnings
"""
READ = """
import json
from mlflow import MlflowClient
client = MlflowClient()
experiments = [each.experiment_id for each in client.search_experiments()]
print(json.dumps([
    [run.info.status, "mlflow.parentRunId" in run.data.tags, run.data.metrics.get("avg_f1")]
    for run in client.search_runs(experiments)
]))
"""


def main() -> None:
    (wheel,) = (ROOT / "dist").glob("*.whl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / ".venv", with_pip=True)
        python = str(folder / ".venv/bin/python")
        install(folder, python, str(wheel))
        check_without_extras(folder, python)
        install(folder, python, f"{wheel}[spark]", "mlflow")
        check_readme(folder, python)
    print(f"{wheel.name} works on Python {sys.version_info[0]}.{sys.version_info[1]}.")


def install(folder: Path, python: str, *packages: str) -> None:
    print(f"Installing {' '.join(Path(name).name for name in packages)}", flush=True)
    run(folder, python, "-m", "pip", "install", "-q", "--no-compile", *packages)
    run(folder, python, "-m", "pip", "check")


def check_without_extras(folder: Path, python: str) -> None:
    run(folder, python, "-c", "import trackmllib; trackmllib.flush(0)")
    run(folder, python, "-m", "trackmllib", "--help")
    run(folder, python, "-m", "trackmllib", "status")


def check_readme(folder: Path, python: str) -> None:
    program = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )[0]
    (folder / "job.py").write_text(program)
    (folder / "run.py").write_text(RUN)
    (folder / "read.py").write_text(READ)
    output = run(folder, python, "run.py")
    if " is best: f1 " not in output:
        raise SystemExit(f"README's first example did not print which candidate is best:\n{output}")
    runs = json.loads(run(folder, python, "read.py").splitlines()[-1])
    children = [average for status, is_child, average in runs if is_child and status == "FINISHED"]
    if len(runs) != 4 or len(children) != 3 or None in children:
        raise SystemExit(f"README's first example recorded these runs: {runs}")


def run(folder: Path, *command: str) -> str:
    """Standard output of a command, without variables of Spark, MLflow or trackmllib."""
    kept = ("HOME", "JAVA_HOME", "LANG", "TMPDIR", "PATH", "HTTPS_PROXY", "REQUESTS_CA_BUNDLE")
    env = {k: v for k, v in os.environ.items() if k in kept or k.startswith(("PIP_", "SSL_"))}
    env |= {
        "TRACKMLLIB_HOME": str(folder / "home"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": command[0],
    }
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=900, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
