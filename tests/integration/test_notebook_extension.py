"""``%load_ext trackmllib`` in a real kernel."""

from __future__ import annotations

import sys
from pathlib import Path

from support.commands import environ

CELLS = [
    "%load_ext trackmllib",
    "from pyspark.ml.tuning import CrossValidator\n"
    "from trackmllib.support.patching import is_patched\n"
    "print(is_patched(CrossValidator.fit))",
    "%unload_ext trackmllib\nprint(is_patched(CrossValidator.fit))",
    "%load_ext trackmllib\nprint(is_patched(CrossValidator.fit))",
    "from pyspark.sql import SparkSession\n"
    "from support.searches import stub_search\n"
    "spark = SparkSession.builder.master('local[2]').getOrCreate()\n"
    "print([float(a) for a in stub_search(numFolds=2).fit(spark.range(20)).avgMetrics])\n"
    "spark.stop()",
    "%reload_ext trackmllib\nprint(is_patched(CrossValidator.fit))",
]


def test_extension_enables_and_disables_recording(tmp_path, monkeypatch, store):
    import nbformat
    from nbclient import NotebookClient

    for name, value in environ(Path(__file__).parents[1]).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", store.experiment)
    # Ignore kernels that the user has registered as python3.
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute(stderr=sys.stderr)
    outputs = ["".join(out.get("text", "") for out in cell.outputs) for cell in notebook.cells]
    averages = outputs.pop(4)
    assert outputs == ["", "True\n", "False\n", "True\n", "True\n"]
    children = store.children(store.only_parent_run())
    found = [child.data.metrics["avg_stub"] for child in children]
    assert averages.splitlines()[-1] == str(found)
