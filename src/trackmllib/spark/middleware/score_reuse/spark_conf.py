"""Spark conf that may affect a score."""

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
_LAYOUT_KEYS = ("spark.default.parallelism", "spark.sql.shuffle.partitions")


def relevant_conf(session: Any, *, with_layout: bool) -> dict[str, str]:
    """Read the conf, parallelism, Java and architecture of a session.

    :param with_layout: Whether to include what only affects partitions.
    """
    # "SET -v" lists public keys with their effective values, "SET" all keys that are set.
    rows = [row for text in ("SET -v", "SET") for row in session.sql(text).collect()]
    found = {
        row["key"]: str(row["value"])
        for row in rows
        if row["key"].startswith(("spark.sql.", "spark.default.parallelism"))
        and not row["key"].startswith(_WITHOUT_EFFECT)
        and (with_layout or row["key"] not in _LAYOUT_KEYS)
    }
    # Not available on Spark Connect.
    context = getattr(session, "_sc", None)
    if context is not None:
        get = context._jvm.java.lang.System.getProperty
        found |= {name: str(get(name)) for name in ("java.specification.version", "os.arch")}
        if with_layout:
            found["default parallelism"] = str(context.defaultParallelism)
    return found
