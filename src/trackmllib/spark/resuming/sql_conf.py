"""Conf of a Spark session, as far as a score may depend on it."""

from __future__ import annotations

from typing import Any

# Keys, or prefixes of keys, that affect no score: names, UI, memory, logs and paths.
_WITHOUT_EFFECT = tuple(
    f"spark.sql.{name}"
    for name in (
        *("artifact.", "catalogImplementation", "debug.", "event.", "hive.metastore."),
        *("hive.thriftServer.", "inMemoryColumnarStorage.", "maxMetadataStringLength"),
        *("maxPlanStringLength", "queryExecutionListeners", "redaction.", "repl.", "streaming."),
        *("thriftserver.", "ui.", "warehouse.dir"),
    )
)
_OF_LAYOUT = ("spark.default.parallelism", "spark.sql.shuffle.partitions")


def relevant_conf(session: Any, *, with_layout: bool) -> dict[str, str]:
    """Read the conf, parallelism, Java and architecture of a session.

    ``with_layout=False`` leaves out what affects only how data is partitioned.
    """
    # "SET -v" lists all public keys with their effective values, "SET" also other keys if set.
    rows = [row for text in ("SET -v", "SET") for row in session.sql(text).collect()]
    found = {
        row["key"]: str(row["value"])
        for row in rows
        if row["key"].startswith(("spark.sql.", "spark.default.parallelism"))
        and not row["key"].startswith(_WITHOUT_EFFECT)
        and (with_layout or row["key"] not in _OF_LAYOUT)
    }
    # The client of Spark Connect knows none of the following.
    context = getattr(session, "_sc", None)
    if context is not None:
        get = context._jvm.java.lang.System.getProperty
        found |= {name: str(get(name)) for name in ("java.specification.version", "os.arch")}
        if with_layout:
            found["default parallelism"] = str(context.defaultParallelism)
    return found
