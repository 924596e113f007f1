"""Driver whose search is scored by an installed package; prints its averages and reused scores."""

from __future__ import annotations

import json
import sys

from own_scores import OwnEvaluator
from pyspark.sql import SparkSession

import trackmllib
from support.resume_searches import fit, pipeline_search, table

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
trackmllib.autolog(resume=True, progress=False, **json.loads(sys.argv[1]))
averages, reused = fit(pipeline_search().setEvaluator(OwnEvaluator()), table(spark))
print(json.dumps({"averages": averages, "reused": reused}))
spark.stop()
