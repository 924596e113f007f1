"""Secrets in params, errors and digests, which no server and no file gets."""

from __future__ import annotations

import json

import pytest
from pyspark.ml.param import Param, Params

import trackmllib
from resuming import rows_search, table
from searches import stub_split
from stubs import StubEstimator, StubEvaluator

URI = "postgresql://me:s3/cr3t@host/db"
VALUES = [
    {"password": "s3cr3t", "host": "h"},
    {"headers": [{"Authorization": "Bearer s3cr3t"}]},
    '{"auth": {"api_key": "s3cr3t"}}',
    [("password", "s3cr3t")],
    URI,
]


def everything(store):
    """Everything that a search has recorded on the server, as text."""
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
    params = [run.data.params["x"] for run in recorded.children(recorded.only_main_run())]
    assert params == [
        "{'password': '***', 'host': 'h'}",
        "{'headers': [{'Authorization': '***'}]}",
        '{"auth": {"api_key": "***"}}',
        "[[password, ***]]",
        "postgresql://***@host/db",
    ]


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
        assert [each.taken_up for each in found.candidates.values()] == [0, 0, 0]
        assert found.keyed is None
    said = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert len(said) == 2
    for sentence in said:
        assert what in sentence
        assert "hidden" in sentence
    assert "trackmllib.cell." not in everything(recorded)
    assert "trackmllib.resumable" not in everything(recorded)


def test_scores_without_secret_are_reused(spark, recorded):
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    data = table(spark)
    secret_search(options={"a": 1}).fit(data)
    model = secret_search(options={"a": 1}).fit(data)
    found = trackmllib.results(model).search.candidates
    assert [each.taken_up for each in found.values()] == [3, 3, 3]


def test_hidden_seeds_are_not_published(spark, recorded):
    trackmllib.autolog(resume=True, code_version="1", progress=False, redact=["^seed$"])
    search = rows_search()
    search._paramMap.pop(search.seed)
    search.fit(table(spark))
    assert "trackmllib.seeds" not in everything(recorded)
