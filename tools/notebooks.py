"""Runs the notebooks of examples/ and writes them back with their outputs.

The metadata of a notebook holds two hashes from its last run: one of its cells, and one of its
cells and the sources of the package. A notebook is stale if they differ from the present ones.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import html
import json
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
PACKAGE = ROOT / "src" / "trackmllib"
# Each notebook records in an experiment of its own.
EXPERIMENTS = {
    "tuning.ipynb": "digits",
    "long_search.ipynb": "long searches",
    "faster_search.ipynb": "faster searches",
}
# In the folder in which the notebooks run.
DATABASE, ARTIFACTS, OUTBOX, LOG = "mlflow.db", "artifacts", "outbox", "kernel.log"
CELL_TIMEOUT_SECONDS = 600
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
SHOWN_ON_GITHUB = {"text/plain", "text/html", "image/png"}
# An absolute path or a file URI, but neither a part of a web address nor a closing HTML tag.
LOCAL_PATHS = (
    r"(?<![\w/<:.#-])/(?:[\w.@+~-]+/)+[\w.@+~-]*",
    r"(?<![\w/<:.#-])/(?:home|mnt|opt|private|root|srv|tmp|usr|Users|var)\b",
    r"\bfile:/+[\w.]\S*",
    r"\bsqlite:////\S*",
    r"\b[A-Za-z]:\\[\w.]\S*",
)
IP_ADDRESS = r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])"


class NotebookFailed(Exception):
    """A notebook has failed; the message says where to look."""


def prepare(folder: Path) -> None:
    """Create an empty store with an experiment per notebook, and its artifacts in ``folder``."""
    # Imported late, so that checks need neither MLflow nor Jupyter.
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    artifacts = folder / ARTIFACTS
    artifacts.mkdir(parents=True)
    client = mlflow.MlflowClient(f"sqlite:///{folder / DATABASE}")
    for experiment in EXPERIMENTS.values():
        client.create_experiment(experiment, artifact_location=artifacts.as_uri())


def run(path: Path, folder: Path) -> Any:
    """Run a copy of a notebook with this Python in a folder, and return it.

    The copy is also written to the folder, even after an error.

    Args:
        path: The notebook.
        folder: Has a store; see ``prepare``.

    Raises:
        NotebookFailed: A cell has failed, or exceeded its time.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    # Ignore kernels that the user has registered as python3.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        # The JVM's log is not an output of a cell.
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        record_timing=False,
        coalesce_streams=True,
    )
    try:
        with (folder / LOG).open("a") as log:
            client.execute(stderr=log, env=_environment(folder))
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise NotebookFailed(
            f"{error}\nexamples/{path.name} failed. How far it came is in {folder / path.name}, "
            f"and what Spark logged is in {folder / LOG}."
        ) from error
    finally:
        nbformat.write(notebook, folder / path.name)
    return notebook


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of a kernel, without options that the user has set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "TRACKMLLIB_"))
    }
    return {
        # Spark warns of a host name that resolves to a loopback address.
        "SPARK_LOCAL_IP": "127.0.0.1",
        **kept,
        # A relative path, because outputs may show the address.
        "MLFLOW_TRACKING_URI": f"sqlite:///{DATABASE}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Keep these outboxes apart from those of the user.
        "TRACKMLLIB_HOME": str(folder / OUTBOX),
        "PYSPARK_PYTHON": sys.executable,
    }


def cells_hash(notebook: dict[str, Any]) -> str:
    """Return the hash of all code and text cells, without their outputs."""
    cells = [[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def source_hash(notebook: dict[str, Any], package: Path = PACKAGE) -> str:
    """Return the hash of the cells and of the package's sources."""
    made = hashlib.sha256(cells_hash(notebook).encode())
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".java")]
    for path in sorted(files, key=lambda path: path.relative_to(package).as_posix()):
        # Git may change line ends.
        text = path.read_bytes().replace(b"\r\n", b"\n")
        made.update(f"\n{path.relative_to(package).as_posix()} {len(text)}\n".encode())
        made.update(text)
    return made.hexdigest()


def why_stale(notebook: dict[str, Any], package: Path | None = PACKAGE) -> str | None:
    """Return what has changed since the notebook last ran, if anything.

    Args:
        notebook: The content of its file.
        package: The folder of the sources; None compares only the cells.
    """
    kept = notebook["metadata"].get("trackmllib", {})
    if "cells_hash" not in kept or "source_hash" not in kept:
        return "it has not run yet"
    if kept["cells_hash"] != cells_hash(notebook):
        return "its cells have changed since it last ran"
    if package is not None and kept["source_hash"] != source_hash(notebook, package):
        return "the package has changed since it last ran"
    return None


def normalise(notebook: dict[str, Any]) -> None:
    """Remove what differs from run to run or does not display on GitHub."""
    metadata = notebook["metadata"]
    widgets = metadata.pop("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata["language_info"] = {"name": "python"}
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data:
                text = _widget_text(data[WIDGET]["model_id"], widgets)
                output["data"] = {"text/plain": text} if text else {}
                output["metadata"] = {}
        if "outputs" in cell:
            cell["outputs"] = [each for each in cell["outputs"] if each.get("data") != {}]


def _widget_text(model: str, widgets: dict[str, Any]) -> str:
    """Return the last text of a widget and of the widgets in it, such as a progress bar."""
    state = widgets.get(model, {}).get("state", {})
    texts = [state["value"]] if isinstance(state.get("value"), str) else []
    texts += [_widget_text(_model_of(child), widgets) for child in state.get("children", [])]
    # tqdm replaces spaces by figure spaces.
    plain = html.unescape(" ".join(texts)).replace("\u2007", " ")
    return " ".join(plain.split())


def _model_of(reference: str) -> str:
    return reference.removeprefix("IPY_MODEL_")


def problems(notebook: dict[str, Any]) -> list[str]:
    """Return what keeps the outputs from being committed, a sentence each."""
    found = []
    sources = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    for cell in notebook["cells"]:
        number = f"[{cell.get('execution_count')}]"
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                found.append(f"Cell {number} has failed: {output['ename']}: {output['evalue']}.")
            data = output.get("data", {})
            if data and not SHOWN_ON_GITHUB & set(data):
                found.append(f"GitHub shows no output of cell {number}: {', '.join(data)}.")
            found += [f"An output of cell {number} {leak}." for leak in _leaks(output, sources)]
    return found


def _leaks(output: dict[str, Any], sources: str) -> Iterator[str]:
    """Yield what an output tells about the machine, other than what the cells themselves say."""
    text = "\n".join(_texts(output))
    for pattern in LOCAL_PATHS:
        for match in re.finditer(pattern, text):
            yield f"contains the local path {match[0]}"
    for folder in {str(Path.home()), tempfile.gettempdir(), str(ROOT)}:
        if len(folder) > 1 and folder in text:
            yield f"contains the local folder {folder}"
    for match in re.finditer(IP_ADDRESS, text):
        yield f"contains the IP address {match[0]}"
    for what, name in _names():
        word = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
        if re.search(word, text) and not re.search(word, sources):
            yield f"contains the {what} {name}"


def _names() -> Iterator[tuple[str, str]]:
    host = socket.gethostname()
    for name in {host, host.partition(".")[0]} - {"", "localhost"}:
        yield "host name", name
    try:
        yield "user name", getpass.getuser()
    except (ImportError, KeyError, OSError):  # a user id without a name
        return


def _texts(output: dict[str, Any]) -> Iterator[str]:
    """Yield the texts of an output; those of an image are its metadata only."""
    yield "".join(output.get("text", ""))
    yield "\n".join(output.get("traceback", []))
    for kind, data in output.get("data", {}).items():
        if kind.startswith("image/") and kind != "image/svg+xml":
            continue
        yield json.dumps(data) if isinstance(data, dict) else "".join(data)


def update(path: Path, folder: Path, package: Path = PACKAGE) -> list[str]:
    """Run a notebook, and write it back unless there are ``problems``, which are returned."""
    import nbformat

    before = json.loads(path.read_text(encoding="utf-8"))
    hashes = {"cells_hash": cells_hash(before), "source_hash": source_hash(before, package)}
    notebook = run(path, folder)
    normalise(notebook)
    found = problems(notebook)
    if not found:
        notebook["metadata"]["trackmllib"] = hashes
        nbformat.write(notebook, path)
    return found


def stale(paths: Iterable[Path], package: Path | None = PACKAGE) -> dict[Path, str]:
    """Return the stale notebooks, and why they are stale."""
    reasons = {
        path: why_stale(json.loads(path.read_text(encoding="utf-8")), package) for path in paths
    }
    return {path: reason for path, reason in reasons.items() if reason is not None}


def _update_all(paths: Iterable[Path]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="notebooks-"))
    prepare(folder)
    for path in paths:
        print(f"Running examples/{path.name} on Spark; this takes about a minute.", flush=True)
        begin = time.monotonic()
        try:
            found = update(path, folder)
        except NotebookFailed as error:
            print(f"{error}\nCorrect the cell, then run make notebooks again.", file=sys.stderr)
            return 1
        if found:
            print(*found, sep="\n", file=sys.stderr)
            print(
                f"examples/{path.name} is unchanged; the outputs are in {folder / path.name}. "
                "Change the cells so that they print nothing about this machine (relative paths, "
                "fewer columns), then run make notebooks again.",
                file=sys.stderr,
            )
            return 1
        print(f"examples/{path.name} has new outputs, after {time.monotonic() - begin:.0f} s.")
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the stale notebooks of examples/.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="also run those that are not stale")
    which.add_argument("--check", action="store_true", help="run none; exit with 1 if any is stale")
    which.add_argument(
        "--check-cells", action="store_true", help="the same, but disregard the package's sources"
    )
    options = parser.parse_args()
    paths = [EXAMPLES / name for name in EXPERIMENTS]
    found = stale(paths, None if options.check_cells else PACKAGE)
    if not options.all:
        for path, reason in found.items():
            print(f"examples/{path.name} is stale: {reason}.")
        if not found:
            print("No notebook of examples/ is stale.")
    if options.check or options.check_cells:
        if found:
            print("Run make notebooks, and commit the notebooks with their new outputs.")
        return 1 if found else 0
    return _update_all(paths if options.all else found)


if __name__ == "__main__":
    sys.exit(main())
