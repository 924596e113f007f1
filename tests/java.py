"""The Java of all Sparks that tests start.

Tests start Spark a hundred times, and run tiny jobs in it: for these, the second compiler of Java
and the code that Spark generates for a query cost more than they give. Half of a start is the
loading of the classes of Spark, which an archive of them spares.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pyspark

OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    # An archive of another Java is no matter; the warning would be on standard output.
    "-Xlog:disable",
    "-Dspark.ui.enabled=false",
    "-Dspark.ui.showConsoleProgress=false",
    "-Dspark.sql.codegen.wholeStage=false",
    "-Dspark.sql.codegen.factoryMode=NO_CODEGEN",
    "-Dspark.sql.adaptive.enabled=false",
)
_ARCHIVE = Path(sys.prefix) / f"spark-{pyspark.__version__}.jsa"


def submit_options() -> str:
    """``SPARK_SUBMIT_OPTS``, with the archive, which is made in 15 seconds if it is not there."""
    if not _ARCHIVE.exists():
        made = _ARCHIVE.with_suffix(f".{os.getpid()}")
        making = shlex.join([*OPTIONS, f"-XX:ArchiveClassesAtExit={made}"])
        subprocess.run(
            [sys.executable, __file__],
            env={**os.environ, "SPARK_SUBMIT_OPTS": making},
            cwd=Path(__file__).parent,
            capture_output=True,
            check=True,
            timeout=120,
        )
        made.replace(_ARCHIVE)
    return shlex.join([*OPTIONS, f"-XX:SharedArchiveFile={_ARCHIVE}"])


def main() -> None:
    """What most tests do with Spark."""
    from pyspark.ml.linalg import Vectors
    from pyspark.sql import SparkSession

    from searches import regression_search, tree_search

    spark = SparkSession.builder.master("local[2]").getOrCreate()
    rows = [(Vectors.dense([i % 3, i % 5]), float(i % 2)) for i in range(50)]
    points = spark.createDataFrame(rows, ["features", "label"])
    for search in (tree_search(), regression_search()):
        search.fit(points)
    spark.stop()


if __name__ == "__main__":
    main()
