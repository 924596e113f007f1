"""Spark with a small status store, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json
import logging

import mlflow
from pyspark.sql import SparkSession

import trackmllib
from support.searches import stub_search
from support.stubs import StubEvaluator

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("trackmllib").addHandler(handler)

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.retainedJobs", 20)
    .config("spark.ui.retainedStages", 40)
    .getOrCreate()
)
data = spark.range(10).selectExpr("id", "id % 2 AS fold").coalesce(1).cache()
data.count()
trackmllib.autolog(report=False)


def jobs_of(search):
    with mlflow.start_run() as run:
        search.fit(data)
    return mlflow.get_run(run.info.run_id).data.metrics.get("spark.numJobs")


def search(jobs):
    def call(prediction):
        for _ in range(jobs):
            data.rdd.count()

    return stub_search(xs=[1.0, 2.0], eva=StubEvaluator(call=call), numFolds=2)


found = [jobs_of(search(1))]
for _ in range(60):
    data.rdd.count()
found.append(jobs_of(search(2)))
silent = list(messages)
found.append(jobs_of(search(60)))
print(json.dumps([found, silent, messages]))
"""


def test_only_too_many_jobs_in_one_search_cause_a_warning(tmp_path):
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")]),
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, silent, messages = json.loads(done.stdout.splitlines()[-1])
    assert found == [4, 8, None]
    assert silent == []
    (sentence,) = messages
    assert "spark.ui.retainedJobs" in sentence
