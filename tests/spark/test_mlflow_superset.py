"""Searches have everything that MLflow's autologging alone would log.

Each test runs the same searches in two processes, one of them with ``TRACKMLLIB_AUTOLOG=0``, and
compares the runs of the two stores. Run names and times aside, and without:

* the status of a run whose search succeeded, but which MLflow ended as FAILED after an error of its
  autologging;
* the digest of the data, which differs from process to process;
* searches of ``exclusive=True`` beside an active run, which MLflow does not record: it records each
  fit that Spark runs in another thread as a run of its own, and trackmllib the search.
"""

from __future__ import annotations

import inspect
import json
import random
import sys
from itertools import combinations, product
from pathlib import Path

import mlflow
import mlflow.pyspark.ml
import pytest

from support.commands import environ, finished
from support.mlflow_reader import Store
from support.mlflow_record import missing
from support.sqlite_store import sqlite_store

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.versions,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

PROGRAM = Path(__file__).parents[1] / "support/mlflow_superset_program.py"
FLUENT, FLAVOR = "mlflow.autolog", "mlflow.pyspark.ml.autolog"

# Values of each argument; the first one is MLflow's default.
VALUES: dict[str, list] = {
    "log_models": [True, False],
    "log_datasets": [True, False],
    "log_input_examples": [False, True],
    "log_model_signatures": [True, False],
    "log_post_training_metrics": [True, False],
    "log_traces": [True, False],
    "disable": [False, True],
    "exclusive": [False, True],
    "disable_for_unsupported_versions": [False, True],
    "silent": [False, True],
    "registered_model_name": [None, "registered"],
    "log_model_allowlist": [
        None,
        ["pyspark.ml.tuning.*", "pyspark.ml.regression.*"],
        ["no.such.Model"],
    ],
    "extra_tags": [None, {"team": "a", "mlflow.note.content": "mine", "estimator_name": "b"}],
    "exclude_flavors": [None, ["sklearn"], ["pyspark.ml"]],
}
# Nothing is logged with these, so few cases have them.
OFF = {"disable": True, "exclude_flavors": ["pyspark.ml"], "disable_for_unsupported_versions": True}


def case(name, function=FLAVOR, search="regressor", active=False, twice=False, **arguments):
    return {
        "name": name,
        "function": function,
        "arguments": arguments,
        "search": search,
        "active": active,
        "twice": twice,
    }


def run(cases, folder, uri, **more):
    """Run the cases in a process, and return what it printed."""
    env = environ(
        MLFLOW_TRACKING_URI=uri,
        PYSPARK_PYTHON=sys.executable,
        PYTHONHASHSEED="0",
        TRACKMLLIB_STRICT="0",
        # MLflow's default takes half a minute for each model.
        MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT="1",
        **more,
    )
    folder.mkdir()
    command = [sys.executable, str(PROGRAM), str(folder.parent / "train"), json.dumps(cases)]
    done = finished(command, env, seconds=800, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def compare(cases, tmp_path):
    """Run the cases with and without trackmllib; return both outputs and the stores."""
    uris = [sqlite_store(tmp_path, name) for name in ("alone.db", "both.db")]
    alone = run(cases, tmp_path / "alone", uris[0], TRACKMLLIB_AUTOLOG="0")
    both = run(cases, tmp_path / "both", uris[1])
    lost = {}
    for each in cases:
        name = each["name"]
        has_predictions = alone["predictions"][name] is not None
        stores = [Store(uri, name) for uri in uris]
        if gone := missing(*stores, has_predictions):
            lost[name] = gone
    assert not lost, json.dumps(lost, indent=1)
    assert both["predictions"] == alone["predictions"]
    return alone, both, uris


def assert_models_load(cases, predictions, uri, train):
    """Check that the models of each case predict what the search's model does."""
    mlflow.set_tracking_uri(uri)
    for each in cases:
        for parent in Store(uri, each["name"]).parent_runs():
            for name in ("model", "best_model"):
                model = mlflow.spark.load_model(f"runs:/{parent.info.run_id}/{name}")
                rows = model.transform(train).orderBy("id").collect()
                assert [row.prediction for row in rows] == predictions[each["name"]]


def test_plain_call(spark, tmp_path):
    cases = [case("plain", FLUENT)]
    _, both, uris = compare(cases, tmp_path)
    train = spark.read.parquet(str(tmp_path / "train"))
    assert_models_load(cases, both["predictions"], uris[1], train)


def test_searches(spark, tmp_path):
    with_models = [
        case("cross validation", search="classifier", active=True),
        case("two searches in a run", active=True, twice=True, registered_model_name="m"),
    ]
    cases = [
        *with_models,
        case("not on the list", search="als"),
        case("pipeline", search="pipeline", log_models=False),
        case("estimator as param", search="one_vs_rest", log_models=False),
        case("search in a pipeline", search="inside_pipeline"),
        case("failure", search="failing"),
    ]
    alone, both, uris = compare(cases, tmp_path)
    train = spark.read.parquet(str(tmp_path / "train"))
    assert_models_load(with_models, both["predictions"], uris[1], train)
    (parent,) = Store(uris[1], "not on the list").parent_runs()
    assert "model" not in Store(uris[1], "not on the list").files(parent, "")
    # MLflow takes longer, at least to find out what its models require.
    assert sum(both["seconds"].values()) < 2 * sum(alone["seconds"].values())


@pytest.mark.parametrize("function", [FLUENT, FLAVOR])
def test_every_argument(tmp_path, function):
    target = mlflow.autolog if function == FLUENT else mlflow.pyspark.ml.autolog
    defaults = {name: each.default for name, each in inspect.signature(target).parameters.items()}
    assert {name: VALUES[name][0] for name in defaults} == defaults
    cases = [
        case(f"case {n}", function, active=n % 2 and not given.get("exclusive"), **given)
        for n, given in enumerate(pairwise({name: VALUES[name] for name in defaults}))
    ]
    compare(cases, tmp_path)


def pairwise(values):
    """Cases in which each two values of two arguments occur; those that are off, alone."""
    on = {
        name: [value for value in some if OFF.get(name, ...) != value]
        for name, some in values.items()
    }
    pairs = {
        ((a, str(x)), (b, str(y))) for a, b in combinations(on, 2) for x, y in product(on[a], on[b])
    }
    chance = random.Random(0)
    while pairs:
        drawn = [{name: chance.choice(some) for name, some in on.items()} for _ in range(100)]
        best = max(drawn, key=lambda arguments: len(pairs & set(_pairs(arguments))))
        pairs.difference_update(_pairs(best))
        yield best
    for name in values:
        if name in OFF:
            yield {name: OFF[name]}


def _pairs(arguments):
    texts = [(name, str(value)) for name, value in arguments.items()]
    return combinations(texts, 2)
