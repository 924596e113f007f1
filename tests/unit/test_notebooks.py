"""The notebooks of examples/ as committed, and the tool that runs them."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
MOST_CELLS = {"tuning.ipynb": 24, "long_search.ipynb": 20, "faster_search.ipynb": 20}


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "tools/notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> dict:
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))


@pytest.fixture
def package(tmp_path) -> Path:
    """The sources of a small package."""
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("one = 1\n")
    (package / "inner" / "Listener.java").write_text("class Listener {}\n")
    return package


@pytest.fixture
def fresh(tool, tmp_path, package) -> Path:
    """A notebook that has just run with this package."""
    notebook = read("tuning.ipynb")
    notebook["metadata"]["trackmllib"] = {
        "cells_hash": tool.cells_hash(notebook),
        "source_hash": tool.source_hash(notebook, package),
    }
    path = tmp_path / "tuning.ipynb"
    path.write_text(json.dumps(notebook))
    return path


def change_cell(path: Path, kind: str) -> None:
    notebook = json.loads(path.read_text())
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == kind)
    cell["source"] = [*cell["source"], "\nmore"]
    path.write_text(json.dumps(notebook))


def with_output(**output) -> dict:
    """A notebook of one cell with this output."""
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {},
        "outputs": [output],
        "source": ["print(1)"],
    }
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def printed(text: str) -> dict:
    return with_output(output_type="stream", name="stdout", text=[text])


def shown(**data) -> dict:
    data = {kind.replace("_", "/", 1): value for kind, value in data.items()}
    return with_output(output_type="display_data", data=data, metadata={})


def test_tool_knows_all_notebooks(tool):
    assert sorted(tool.EXPERIMENTS) == NAMES == sorted(MOST_CELLS)


@pytest.mark.parametrize("name", NAMES)
def test_committed_notebook_is_short(name):
    assert len(read(name)["cells"]) <= MOST_CELLS[name]


@pytest.mark.parametrize("name", NAMES)
def test_committed_notebook_has_run_from_top_to_bottom(name):
    code = [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell["outputs"]) for cell in code) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_committed_outputs_show_on_github_and_contain_no_local_paths(tool, name, monkeypatch):
    # The tool has looked for the names of the machine on which the notebook ran.
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    monkeypatch.setattr("getpass.getuser", lambda: "any-user-name")
    notebook = read(name)
    assert tool.problems(notebook) == []
    assert "widgets" not in notebook["metadata"]
    assert all("execution" not in cell["metadata"] for cell in notebook["cells"])
    assert not [
        output
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_committed_outputs_are_those_of_the_present_cells(tool, name):
    assert tool.stale([EXAMPLES / name], None) == {}, "run make notebooks"


@pytest.mark.parametrize("name", NAMES)
def test_links_between_notebooks_and_docs_lead_somewhere(name):
    text = "".join(
        "".join(cell["source"]) for cell in read(name)["cells"] if cell["cell_type"] == "markdown"
    )
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (EXAMPLES / link).exists(), link


def test_results_follow_the_fit():
    cells = read("tuning.ipynb")["cells"]
    (fit,) = (at for at, cell in enumerate(cells) if "search.fit(" in "".join(cell["source"]))
    assert "".join(cells[fit + 1]["source"]).endswith("results")
    assert "is best" in json.dumps(cells[fit + 1]["outputs"])


def test_long_search_shows_the_scores_that_survived_the_crash():
    code = [cell for cell in read("long_search.ipynb")["cells"] if cell["cell_type"] == "code"]
    (crash,) = (at for at, cell in enumerate(code) if '"--crash"]' in "".join(cell["source"]))
    assert code[crash]["outputs"][0]["data"]["text/plain"] == ["-9"]
    # Until the job runs again.
    resume = next(
        at for at in range(crash + 1, len(code)) if "long_job.py" in "".join(code[at]["source"])
    )
    shown = [
        "".join(output["data"]["text/plain"])
        for cell in code[crash + 1 : resume]
        for output in cell["outputs"]
        if "data" in output
    ]
    scores = re.findall(r"\b0\.\d{3,}\b", "\n".join(shown))
    # The job has 18 fits, and kills itself once 9 are scored.
    assert 9 <= len(scores) < 18
    last = "".join(code[-1]["outputs"][0]["data"]["text/plain"]).splitlines()
    assert last[0].split()[-1] == "resumed"
    assert sum(int(line.split()[-1]) for line in last[1:]) == len(scores)


def test_faster_search_measures_its_times():
    notebook = read("faster_search.ipynb")
    sources = "".join("".join(cell["source"]) for cell in notebook["cells"])
    assert not re.search(r"\d+(\.\d+)? (s|x)\b", sources)
    outputs = json.dumps([cell.get("outputs") for cell in notebook["cells"]])
    recorded, accelerated, share = map(
        float, re.search(r"([\d.]+) s -> ([\d.]+) s \(([\d.]+) x\)", outputs).groups()
    )
    assert accelerated / recorded == pytest.approx(share, abs=0.02)
    assert share < 1


def test_notebook_that_has_just_run_is_not_stale(tool, fresh, package):
    assert tool.stale([fresh], package) == tool.stale([fresh], None) == {}


@pytest.mark.parametrize("kind", ["code", "markdown"])
def test_notebook_with_changed_cell_is_stale(tool, fresh, package, kind):
    change_cell(fresh, kind)
    assert list(tool.stale([fresh], package)) == list(tool.stale([fresh], None)) == [fresh]


@pytest.mark.parametrize("file", ["__init__.py", "inner/Listener.java", "inner/added.py"])
def test_notebook_is_stale_after_a_change_of_the_package(tool, fresh, package, file):
    with (package / file).open("a") as source:
        source.write("// changed\n")
    assert list(tool.stale([fresh], package)) == [fresh]
    assert tool.stale([fresh], None) == {}


def test_outputs_and_other_files_make_no_notebook_stale(tool, fresh, package):
    (package / "page.css").write_text("p {}")
    (package / "__init__.py").write_bytes(b"one = 1\r\n")
    notebook = json.loads(fresh.read_text())
    for cell in notebook["cells"]:
        cell["id"] = "other-" + cell["id"]
        # As nbformat reads it.
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell["outputs"] = []
    fresh.write_text(json.dumps(notebook))
    assert tool.stale([fresh], package) == {}


def test_notebook_that_never_ran_is_stale(tool, fresh, package):
    notebook = json.loads(fresh.read_text())
    del notebook["metadata"]["trackmllib"]
    fresh.write_text(json.dumps(notebook))
    assert tool.stale([fresh], package) == {fresh: "it has not run yet"}


@pytest.mark.parametrize(
    "text",
    [
        "PosixPath('/home/ann/digits.html')",
        "in /root: nothing",
        "/srv/clone/examples/digits.html",
        "sqlite:////srv/mlflow.db",
        "file:///var/artifacts",
        r"C:\Users\ann",
        "the server 10.0.0.7:5000",
        "on build-7 now",
        "on build-7.example.org",
        "by user ann",
    ],
)
def test_output_about_this_machine_is_a_problem(tool, text, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "build-7.example.org")
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    for notebook in (printed(text), shown(text_html=f"<td>{text}</td>"), shown(text_plain=text)):
        assert any("An output of cell [1] contains" in each for each in tool.problems(notebook))


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///mlflow.db",
        "PosixPath('digits.html') of trackmllib/report.html",
        "https://localhost:5000/#/experiments/1/runs/2",
        "<table><tr><td>0.5</td></tr></table><br/>",
        "27/27 fits, 1.5 / 2.0, pyspark 4.3.0, planning and building",
    ],
)
def test_other_output_is_no_problem(tool, text, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "build")
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    for notebook in (printed(text), shown(text_html=text), shown(image_png="/home/ann/")):
        assert tool.problems(notebook) == []


def test_host_name_that_the_cells_contain_is_no_problem(tool, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "digits")
    notebook = printed("digits")
    assert tool.problems(notebook) != []
    notebook["cells"][0]["source"] = ["print('digits')"]
    assert tool.problems(notebook) == []


def test_error_and_hidden_output_are_problems(tool):
    failed = with_output(output_type="error", ename="ValueError", evalue="bad", traceback=[])
    assert tool.problems(failed) == ["Cell [1] has failed: ValueError: bad."]
    hidden = shown(**{"application_vnd.x+json": {}})
    assert tool.problems(hidden) == ["GitHub shows no output of cell [1]: application/vnd.x+json."]


def widget(**state) -> dict:
    return {"state": state}


def test_progress_bar_becomes_its_last_text(tool):
    notebook = shown(
        **{
            "application_vnd.jupyter.widget-view+json": {"model_id": "box"},
            "text_plain": "  0%| |",
        }
    )
    cell = notebook["cells"][0]
    cell["metadata"] = {"execution": {"iopub.status.idle": "2026-01-01"}}
    before = copy.deepcopy(cell["outputs"])
    cell["outputs"] += [{"output_type": "stream", "name": "stdout", "text": ["done\n"]}]
    widgets = {
        "box": widget(children=["IPY_MODEL_left", "IPY_MODEL_bar", "IPY_MODEL_right"]),
        "left": widget(value="CrossValidator:\u2007"),
        "bar": widget(value=27.0),
        "right": widget(value="27\u2007of\u200727\u2007fits &lt;3 s"),
    }
    state = {tool.WIDGET_STATE: {"state": widgets}}
    notebook["metadata"] = {"widgets": state, "language_info": {"name": "python", "version": "3"}}
    tool.normalise(notebook)
    bar, text = cell["outputs"]
    assert bar["data"] == {"text/plain": "CrossValidator: 27 of 27 fits <3 s"}
    assert text["text"] == ["done\n"]
    assert cell["metadata"] == {}
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert "widgets" not in notebook["metadata"]
    # Without its state, a widget shows nothing.
    cell["outputs"] = before
    tool.normalise(notebook)
    assert cell["outputs"] == []
