"""The docs are true: their examples run, and their tables name what is recorded."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import mlflow
import pytest

import trackmllib
from resuming import rows_search
from searches import regression_search, stub_search, tree_search
from stubs import SearchingEstimator, StubEstimator

ROOT = Path(__file__).parents[2]


def python_blocks(file: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


@pytest.mark.parametrize(
    "file",
    [
        "README.md",
        "docs/configuration.md",
        "docs/switch-it-on.md",
        "docs/testing.md",
        "docs/how-to/faster-searches.md",
        "docs/how-to/find-out-why-a-search-is-slow.md",
        "docs/how-to/read-results-in-code.md",
        "docs/how-to/resume.md",
        "docs/how-to/share-results.md",
    ],
)
def test_examples_run(points, store, spark, file):
    blocks = python_blocks(file)
    assert blocks
    names = {"cv": stub_search(numFolds=2), "train": points, "spark": spark}
    if "how-to" in file:
        trackmllib.autolog()
        names |= {"trackmllib": trackmllib, "mlflow": mlflow, "model": names["cv"].fit(points)}
    for block in blocks:
        exec(compile(block, file, "exec"), names)
    if file == "README.md":
        assert len(store.children(store.only_main_run())) == 3


def test_the_page_on_faster_searches_shows_what_explain_says(spark, capsys):
    text = (ROOT / "docs/how-to/faster-searches.md").read_text()
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    exec(python_blocks("docs/how-to/faster-searches.md")[0], {"trackmllib": trackmllib})
    assert capsys.readouterr().out == shown


def test_readme_links_to_files_that_exist():
    pages = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]
    for file in (Path("README.md"), *pages):
        text = (ROOT / file).read_text()
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if not link.startswith("http"):
                assert ((ROOT / file).parent / link).exists(), f"{file}: {link}"


def test_architecture_names_files_that_exist():
    text = (ROOT / "docs/architecture.md").read_text()
    sources = set(re.findall(r"`((?:\w+/)?\w+\.py)`", text))
    assert len(sources) > 20
    for source in sources:
        assert any((ROOT / base / source).exists() for base in ("src/trackmllib", ".")), source


def test_the_tutorial_runs(store, spark, monkeypatch, tmp_path, capsys):
    """Its program and its commands, as they stand, in an empty folder."""
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
    said = capsys.readouterr().out
    assert " is best: accuracy 0." in said
    assert "<h1" in (tmp_path / "search.html").read_text()


def test_the_commands_in_the_docs_are_commands(monkeypatch, capsys, tmp_path):
    """Each line of a console block that begins with ``trackmllib`` is understood."""
    from trackmllib.cli import main

    lines = {
        line.partition("#")[0].strip()
        for file in ("README.md", "docs/durability.md", "docs/clusters.md")
        for block in re.findall(r"```console\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("trackmllib ")
    }
    assert len(lines) >= 6
    for line in lines:
        code = main(line.split()[1:])
        said = capsys.readouterr().out
        assert code == (1 if " drop " in line else 0), line
        assert said, line
    for verb in ("status", "sync", "drop"):
        assert any(line.startswith(f"trackmllib {verb}") for line in lines)


def documented(section: str) -> set[str]:
    """The keys in the first cells of a section's tables, `<…>` as a wildcard."""
    text = (ROOT / "docs/what-is-recorded.md").read_text()
    part = text.split(f"## {section}\n")[1].split("\n## ")[0]
    keys: set[str] = set()
    for row in re.findall(r"^\| (.*) \|$", part, re.MULTILINE):
        cells = row.split(" | ")
        cell = cells[1] if cells[0] in ("param", "metric", "tag", "file") else cells[0]
        keys.update(re.findall(r"`([^`]+)`", cell))
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


def test_the_tables_name_every_key_and_no_other(spark, points, recorded, monkeypatch):
    from test_calls import OwnLoop

    monkeypatch.setattr(type(spark.sparkContext), "uiWebUrl", "http://driver:4040")
    trackmllib.autolog(report=True, history_server="http://history:18080")
    regression_search().fit(points)
    assert trackmllib.flush(60)
    trackmllib.autolog()
    stub_search(kind=OwnLoop).fit(points)
    trackmllib.autolog(reuse_stages=True, children="best:2")
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
    recorded.client.set_tag(recorded.main_runs()[-1].info.run_id, "trackmllib.stop", "true")
    trackmllib.autolog()
    from pyspark.ml.tuning import TrainValidationSplit

    regression_search(TrainValidationSplit).fit(points)
    stub_search(est=SearchingEstimator(stub_search(xs=(5.0,))), xs=(1.0,)).fit(points)
    children = [r for r in recorded.runs() if "trackmllib.candidate" in r.data.tags]
    ids = {child.info.run_id for child in children}
    main_runs = [run for run in recorded.runs() if run.info.run_id not in ids]
    for section, runs in (("Main run", main_runs), ("Child runs", children)):
        patterns = documented(section)
        used: set[str] = set()
        for run in runs:
            for key in recorded_keys(recorded, run):
                found = matches(key, patterns)
                assert found, f"{section}: {key} is not documented"
                used |= found
        assert used == patterns, f"{section}: never recorded: {patterns - used}"


def test_a_recording_in_memory_is_the_record_of_mlflow(points, recorded):
    """``trackmllib.testing`` tells its users what MLflow would have."""
    from trackmllib import testing

    with testing.recording() as record:
        model = stub_search(numFolds=2, seed=1).fit(points)
    assert recorded.runs() == []
    stub_search(numFolds=2, seed=1).fit(points)
    main = recorded.only_main_run()
    (in_memory,) = record.store.main_runs()
    assert in_memory.params == main.data.params
    assert in_memory.name == main.info.run_name
    assert in_memory.status == main.info.status
    for run, child in zip(record.store.children(), recorded.children(main), strict=True):
        assert run.params == child.data.params
        assert set(run.metrics) == set(child.data.metrics)
        assert run.metrics["avg_stub"][0].value == child.data.metrics["avg_stub"]
        assert run.status == child.info.status
    assert [a.value for r in record.store.children() for a in r.metrics["avg_stub"]] == list(
        model.avgMetrics
    )
    assert mlflow.active_run() is None
    assert trackmllib.__version__ in in_memory.tags.values()
