"""Secrets in params, errors and digests reach no server and no file."""

from __future__ import annotations

import importlib
import json
import logging

import pytest
from pyspark.ml.param import Param, Params

import trackmllib
from support.resume_searches import rows_search, table
from support.searches import stub_search, stub_split
from support.slow_stores import slow_store
from support.stubs import StubEstimator, StubEvaluator, WithSecrets

URI = "postgresql://me:s3/cr3t@host/db"
VALUES = [
    {"password": "s3cr3t", "host": "h"},
    {"headers": [{"Authorization": "Bearer s3cr3t"}]},
    '{"auth": {"api_key": "s3cr3t"}}',
    [("password", "s3cr3t")],
    URI,
]


def everything(store):
    """Return the whole record of a search on the server as text."""
    texts = []
    for run in store.runs():
        texts.append(json.dumps(run.to_dictionary()))
        texts += [store.text(run, f"trackmllib/{name}") for name in store.files(run)]
    return "\n".join(texts)


def test_secrets_inside_values_are_not_recorded(points, recorded):
    evaluator = StubEvaluator()
    evaluator._evaluate = lambda prediction: 1.0
    stub_split(xs=VALUES, eva=evaluator).fit(points)
    texts = everything(recorded)
    assert "s3cr3t" not in texts
    assert "cr3t@" not in texts
    params = [run.data.params["x"] for run in recorded.children(recorded.only_parent_run())]
    assert params == [
        "{'password': '***', 'host': 'h'}",
        "{'headers': [{'Authorization': '***'}]}",
        '{"auth": {"api_key": "***"}}',
        "[[password, ***]]",
        "postgresql://***@host/db",
    ]


def test_no_secret_is_recorded_anywhere(points, store, caplog):
    trackmllib.autolog(redact="^internal", flush_timeout=0, wait=False)
    est = WithSecrets()
    search = stub_search(est=est, numFolds=2)
    search.setEstimatorParamMaps(
        [{**m, est.apiKey: f"s3cr3t-{n}6"} for n, m in enumerate(search.getEstimatorParamMaps())]
    )
    caplog.set_level(logging.DEBUG, "trackmllib")
    session = importlib.import_module("trackmllib.api.autolog")._session
    with slow_store(0.2), pytest.raises(ValueError, match="s3cr3t-5"):
        search.fit(points)
    on_disk = b"".join(path.read_bytes() for path in session.directory.path.iterdir())
    assert b"apiKey" in on_disk
    assert b"s3cr3t" not in on_disk
    assert trackmllib.flush(60)
    parent = store.only_parent_run()
    children = store.children(parent)
    assert children[0].data.params == {"x": "1.0", "apiKey": "***"}
    texts = [str(run.data) + str(run.info) for run in (parent, *children)]
    texts += [store.text(parent, f"trackmllib/{name}") for name in store.files(parent)]
    texts += [
        store.text(child, f"trackmllib/{name}") for child in children for name in store.files(child)
    ]
    texts += [record.getMessage() for record in caplog.records if record.name.startswith("track")]
    assert not [text for text in texts if "s3cr3t" in text]
    params = store.json(parent, "trackmllib/search.json")["estimator"]["params"]
    assert params["apiKey"] == params["internalUrl"] == "***"
    assert params["keyCol"] == "id"
    assert params["jdbc"] == "jdbc:postgresql://***@db/shop?password=***&ssl=true"


def connect(host, password):
    raise ValueError(f"no connection to {host}")


def test_traceback_hides_literal_password(points, recorded):
    def call(prediction):
        connect("host", password="s3cr3t")

    with pytest.raises(ValueError, match="no connection"):
        stub_split(eva=StubEvaluator(call=call)).fit(points)
    texts = everything(recorded)
    assert "connect(" in texts
    assert "s3cr3t" not in texts


class WithSecret(StubEstimator):
    password = Param(Params._dummy(), "password", "")
    options = Param(Params._dummy(), "options", "")


def secret_search(**values):
    est = WithSecret()
    est._set(**values)
    return rows_search(est=est)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"password": "s3cr3t"}, "the param password of WithSecret"),
        ({"options": {"token": "s3cr3t"}}, "the param options of WithSecret"),
        ({"options": URI}, "the param options of WithSecret"),
    ],
)
def test_scores_with_secret_are_not_published_or_reused(spark, recorded, caplog, values, what):
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    data = table(spark)
    for _ in range(2):
        model = secret_search(**values).fit(data)
        found = trackmllib.results(model).search
        assert [each.reused for each in found.candidates.values()] == [0, 0, 0]
        assert found.keyed is None
    messages = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert len(messages) == 2
    for sentence in messages:
        assert what in sentence
        assert "hidden" in sentence
    assert "trackmllib.fit." not in everything(recorded)
    assert "trackmllib.resumable" not in everything(recorded)


@pytest.mark.slow
def test_scores_without_secret_are_reused(spark, recorded):
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    data = table(spark)
    secret_search(options={"a": 1}).fit(data)
    model = secret_search(options={"a": 1}).fit(data)
    found = trackmllib.results(model).search.candidates
    assert [each.reused for each in found.values()] == [3, 3, 3]


@pytest.mark.slow
def test_hidden_seeds_are_not_published(spark, recorded):
    trackmllib.autolog(resume=True, code_version="1", progress=False, redact=["^seed$"])
    search = rows_search()
    search._paramMap.pop(search.seed)
    search.fit(table(spark))
    assert "trackmllib.seeds" not in everything(recorded)
