"""Options of Java for every Spark that the tests start.

Tests start Spark a hundred times and run tiny jobs in it. For these, Java's second compiler and
Spark's generated code cost more than they save. Half of the start-up time is spent loading Spark's
classes, which a class data archive avoids.
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
    # Java ignores an archive of another version, with a warning on standard output.
    "-Xlog:disable",
    "-Dspark.ui.enabled=false",
    "-Dspark.ui.showConsoleProgress=false",
    "-Dspark.sql.codegen.wholeStage=false",
    "-Dspark.sql.codegen.factoryMode=NO_CODEGEN",
    "-Dspark.sql.adaptive.enabled=false",
)
# Longest wait for the archive; three parts of CI may create theirs at once.
_SECONDS = 600
_ARCHIVE = Path(sys.prefix) / f"spark-{pyspark.__version__}.jsa"


def submit_options() -> str:
    """Return ``SPARK_SUBMIT_OPTS``; create the missing archive, in 15 s or more."""
    if not _ARCHIVE.exists():
        made = _ARCHIVE.with_suffix(f".{os.getpid()}")
        making = shlex.join([*OPTIONS, f"-XX:ArchiveClassesAtExit={made}"])
        subprocess.run(
            [sys.executable, "-m", "support.java"],
            env={**os.environ, "SPARK_SUBMIT_OPTS": making},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        )
        made.replace(_ARCHIVE)
    return shlex.join([*OPTIONS, f"-XX:SharedArchiveFile={_ARCHIVE}"])


def main() -> None:
    """Use Spark as most tests do, to fill the archive."""
    from pyspark.ml.linalg import Vectors
    from pyspark.sql import SparkSession

    from support.searches import regression_search, tree_search

    spark = SparkSession.builder.master("local[2]").getOrCreate()
    rows = [(Vectors.dense([i % 3, i % 5]), float(i % 2)) for i in range(50)]
    points = spark.createDataFrame(rows, ["features", "label"])
    for search in (tree_search(), regression_search()):
        search.fit(points)
    spark.stop()


if __name__ == "__main__":
    main()
