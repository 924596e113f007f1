"""``%load_ext trackmllib`` in a real kernel. Marked heavy: the oldest versions have no Jupyter."""

from __future__ import annotations

import sys

import pytest

from commands import environ

CELLS = [
    "%load_ext trackmllib",
    "from pyspark.ml.tuning import CrossValidator\n"
    "from trackmllib.patching import is_patched\n"
    "print(is_patched(CrossValidator.fit))",
    "%unload_ext trackmllib\nprint(is_patched(CrossValidator.fit))",
    "%load_ext trackmllib\nprint(is_patched(CrossValidator.fit))",
    "%reload_ext trackmllib\nprint(is_patched(CrossValidator.fit))",
]


@pytest.mark.heavy
def test_the_extension_switches_recording_on_and_off(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    for name, value in environ().items():
        monkeypatch.setenv(name, value)
    # A kernel that the user has registered as python3 must not be taken for this one.
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
    said = ["".join(out.get("text", "") for out in cell.outputs) for cell in notebook.cells]
    assert said == ["", "True\n", "False\n", "True\n", "True\n"]
