"""The docs are correct: examples run, and tables list the recorded keys."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import mlflow
import pytest

import trackmllib
from support.own_loop import OwnLoop
from support.resume_searches import rows_search
from support.searches import regression_search, stub_search, tree_search
from support.stubs import SearchingEstimator, StubEstimator

ROOT = Path(__file__).parents[2]
# The other how-to guides begin with a search that is recorded already.
STARTS_RECORDING = ("docs/how-to/switch-it-on.md", "docs/how-to/test-your-own-code.md")
SLOW = (
    "docs/how-to/folds.md",
    "docs/how-to/rank-models.md",
    "docs/how-to/several-metrics.md",
    "docs/how-to/several-pipelines.md",
)


def python_blocks(file: str) -> list[str]:
    found = re.findall(r"^( *)```python\n(.*?)^ *```", (ROOT / file).read_text(), re.M | re.S)
    return [textwrap.dedent(block) for _, block in found]


@pytest.fixture
def mlflow_autolog_off(mlflow_autolog):
    """Turn off what ``mlflow.autolog()`` has turned on, after the test."""
    yield
    mlflow.autolog(disable=True)


def pages_with_python() -> list:
    """All pages with Python code, except for the tutorial, which has a test of its own."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [str(page.relative_to(ROOT)) for page in pages]
    found = [name for name in names if python_blocks(name) and name != "docs/tutorial.md"]
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in found]


# MLflow warns of untested versions of pyspark.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("mlflow_autolog_off")
@pytest.mark.parametrize("file", pages_with_python())
def test_examples_run(points, store, spark, file):
    names = {"cv": stub_search(numFolds=2), "train": points, "spark": spark}
    if "how-to" in file and file not in STARTS_RECORDING:
        trackmllib.autolog()
        names |= {"trackmllib": trackmllib, "mlflow": mlflow, "model": names["cv"].fit(points)}
    for block in python_blocks(file):
        exec(compile(block, file, "exec"), names)
    if file == "README.md":
        assert len(store.children(store.only_parent_run())) == 3


def test_page_on_faster_searches_shows_the_output_of_explain(spark, capsys):
    text = (ROOT / "docs/how-to/faster-searches.md").read_text()
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    (example,) = [
        block for block in python_blocks("docs/how-to/faster-searches.md") if "explain(" in block
    ]
    exec(example, {"trackmllib": trackmllib})
    assert capsys.readouterr().out == shown


def test_readme_links_to_files_that_exist():
    pages = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]
    for file in (Path("README.md"), *pages):
        text = (ROOT / file).read_text()
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if not link.startswith("http"):
                assert ((ROOT / file).parent / link).exists(), f"{file}: {link}"


@pytest.mark.parametrize("page", ["architecture", "spark-and-mlflow-internals"])
def test_developer_pages_name_files_that_exist(page):
    text = (ROOT / f"docs/explanation/{page}.md").read_text()
    names = set(re.findall(r"`\s*((?:\w+/)+(?:\w+\.py)?)`", text))
    assert len(names) > {"architecture": 40, "spark-and-mlflow-internals": 6}[page]
    for name in names:
        bases = (ROOT, ROOT / "src/trackmllib", ROOT / "src/trackmllib/spark")
        assert any((base / name).exists() for base in bases), name


@pytest.mark.slow
def test_tutorial_runs(store, spark, monkeypatch, tmp_path, capsys):
    """Runs its program and its commands unchanged in an empty folder."""
    from trackmllib.cli import main

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    (program,) = python_blocks("docs/tutorial.md")
    exec(compile(program, "tune.py", "exec"), {})
    assert " is best: accuracy 0." in capsys.readouterr().out
    text = (ROOT / "docs/tutorial.md").read_text()
    lines = re.findall(r"^trackmllib .*$", text, re.MULTILINE)
    assert [line.split()[1] for line in lines] == ["searches", "show", "report"]
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    output = capsys.readouterr().out
    assert " is best: accuracy 0." in output
    assert "<h1" in (tmp_path / "search.html").read_text()


def test_commands_in_the_docs_are_valid(monkeypatch, capsys, tmp_path):
    """Parses each line of a console block that begins with ``trackmllib``."""
    from trackmllib.cli import main

    lines = {
        line.partition("#")[0].strip()
        for file in ("README.md", "docs/explanation/durability.md", "docs/how-to/clusters.md")
        for block in re.findall(r"```console\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("trackmllib ")
    }
    assert len(lines) >= 6
    for line in lines:
        code = main(line.split()[1:])
        output = capsys.readouterr().out
        assert code == (1 if " drop " in line else 0), line
        assert output, line
    for verb in ("status", "sync", "drop"):
        assert any(line.startswith(f"trackmllib {verb}") for line in lines)


def documented(section: str) -> set[str]:
    """The keys in the key column of a section's tables, with `<…>` as a wildcard."""
    text = (ROOT / "docs/reference/what-is-recorded.md").read_text()
    part = text.split(f"## {section}\n")[1].split("\n## ")[0]
    keys: set[str] = set()
    for row in re.findall(r"^\| (.*) \|$", part, re.MULTILINE):
        cells = row.split(" | ")
        key = cells[1] if cells[0] in ("param", "metric", "tag", "artifact") else cells[0]
        keys.update(re.findall(r"`([^`]+)`", key))
    return {key.removeprefix("trackmllib/") if "." in key and "/" in key else key for key in keys}


def matches(key: str, patterns: set[str]) -> set[str]:
    def regex(pattern: str) -> str:
        return re.sub(
            r"<\w+>", r"[\\w.]+", re.escape(pattern).replace("\\<", "<").replace("\\>", ">")
        )

    return {p for p in patterns if re.fullmatch(regex(p), key)}


def recorded_keys(store, run) -> set[str]:
    tags = {k for k in run.data.tags if not k.startswith("mlflow.")}
    return set(run.data.params) | set(run.data.metrics) | tags | set(store.files(run))


@pytest.mark.slow
def test_tables_in_the_docs_name_every_key_and_no_other(spark, points, recorded, monkeypatch):
    monkeypatch.setattr(type(spark.sparkContext), "uiWebUrl", "http://driver:4040")
    trackmllib.autolog(report=True, history_server="http://history:18080", rank_tags=True)
    regression_search().fit(points)
    assert trackmllib.flush(60)
    trackmllib.autolog()
    stub_search(kind=OwnLoop).fit(points)
    trackmllib.autolog(metrics=["mae"], train_scores=True)
    regression_search().fit(points)
    trackmllib.autolog(reuse_stages=True, children="best:2")
    tree_search().fit(points)
    trackmllib.autolog(nested_fits=True)
    tree_search().fit(points)
    trackmllib.autolog()
    with pytest.raises(ValueError, match="boom"):
        stub_search(est=StubEstimator(fail={1.0: ValueError("boom")})).fit(points)
    trackmllib.autolog(resume=True, code_version="1", on_error="retry:1")
    for xs in ((1.0,), (1.0, 2.0)):
        search = rows_search(xs)
        search.clear(search.seed)
        search.fit(points)
    with pytest.raises(ValueError, match="boom"):
        stub_search(est=StubEstimator(fail={1.0: ValueError("boom")})).fit(points)
    recorded.client.set_tag(recorded.parent_runs()[-1].info.run_id, "trackmllib.stop", "true")
    trackmllib.autolog()
    with mlflow.start_run():
        stub_search().fit(points)
    from pyspark.ml.tuning import TrainValidationSplit

    regression_search(TrainValidationSplit).fit(points)
    stub_search(est=SearchingEstimator(stub_search(xs=(5.0,))), xs=(1.0,)).fit(points)
    children = [r for r in recorded.runs() if "trackmllib.candidate" in r.data.tags]
    ids = {child.info.run_id for child in children}
    parent_runs = [run for run in recorded.runs() if run.info.run_id not in ids]
    for section, runs in (("Parent run", parent_runs), ("Child runs", children)):
        patterns = documented(section)
        used: set[str] = set()
        for run in runs:
            for key in recorded_keys(recorded, run):
                found = matches(key, patterns)
                assert found, f"{section}: {key} is not documented"
                used |= found
        assert used == patterns, f"{section}: never recorded: {patterns - used}"


def test_recording_in_memory_equals_the_record_in_mlflow(points, recorded):
    """``trackmllib.testing`` records what MLflow would."""
    from trackmllib import testing

    with testing.recording() as record:
        model = stub_search(numFolds=2, seed=1).fit(points)
    assert recorded.runs() == []
    stub_search(numFolds=2, seed=1).fit(points)
    parent = recorded.only_parent_run()
    (in_memory,) = record.store.parent_runs()
    assert in_memory.params == parent.data.params
    assert in_memory.name == parent.info.run_name
    assert in_memory.status == parent.info.status
    for run, child in zip(record.store.children(), recorded.children(parent), strict=True):
        assert run.params == child.data.params
        assert set(run.metrics) == set(child.data.metrics)
        assert run.metrics["avg_stub"][0].value == child.data.metrics["avg_stub"]
        assert run.status == child.info.status
    assert [a.value for r in record.store.children() for a in r.metrics["avg_stub"]] == list(
        model.avgMetrics
    )
    assert mlflow.active_run() is None
    assert trackmllib.__version__ in in_memory.tags.values()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_table_lists_exactly_the_keys_that_mlflow_logs(points, store, mlflow_autolog):
    keys: list[dict[bool, set[str]]] = []
    for record in (lambda: mlflow_autolog(log_models=True), trackmllib.autolog):
        record()
        with mlflow.start_run() as parent:
            tree_search().fit(points)
        assert trackmllib.flush(60)
        run = mlflow.get_run(parent.info.run_id)
        children = store.children(run)
        files = set(store.files(run, ""))
        keys.append(
            {
                False: recorded_keys(store, run)
                | files
                | {"mlflow.autologging"} & set(run.data.tags),
                True: {
                    key
                    for child in children
                    for key in recorded_keys(store, child)
                    | {"mlflow.autologging"} & set(child.data.tags)
                },
            }
        )
    patterns = documented("With `mlflow.autolog()`")
    used: set[str] = set()
    for is_child in (False, True):
        # Only child runs have params without a class.
        some = patterns if is_child else patterns - {"<param>"}
        for key in keys[0][is_child] - keys[1][is_child]:
            found = matches(key, some)
            assert found, f"{key} is not documented"
            used |= found
    assert used == patterns
