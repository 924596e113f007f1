"""Fingerprints of the rows of folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from typing import Any

from pyspark.ml.linalg import MatrixUDT, VectorUDT
from pyspark.sql import functions, types

from trackmllib.spark.introspection.input_columns import quoted
from trackmllib.spark.middleware.frames import unpersist_quietly
from trackmllib.spark.middleware.score_reuse.errors import NotComparable
from trackmllib.spark.middleware.score_reuse.fingerprint import digest
from trackmllib.support.guard import attempt

# Digests of the data of a fold, by the name of the part: columns, rows, layout, folds.
FoldFingerprint = Mapping[str, str]
# Of a DataFrame: the number of rows, the sums of their hashes and of the hashes of their positions
# and, except on Spark Connect, the number of partitions.
_Sums = tuple[int, ...]
_NESTED = (types.ArrayType, types.MapType, types.StructType, types.UserDefinedType)
_LINALG = (MatrixUDT, VectorUDT)
_JSON_OPTIONS = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def fingerprint_folds(
    data: Any,
    folds: Sequence[tuple[Any, Any]],
    split_params: Mapping[str, Any] | None,
    added_column: str,
) -> list[FoldFingerprint]:
    """Read and fingerprint all rows of the folds in one aggregation.

    :param split_params: Params by which Spark split ``data`` into folds. None if other code split
        it; then the training data is read, too.
    :param added_column: The column that Spark adds to split the data.
    :raises NotComparable: A column cannot be hashed, or two reads differ.
    """
    folds = [tuple(frame.drop(added_column) for frame in fold) for fold in folds]
    if split_params is None:
        sums = _read_sums([frame for fold in folds for frame in fold])
        pairs = list(zip(sums[::2], sums[1::2], strict=True))
    else:
        # The training data is the other rows, in order. With one fold, the check below reads it.
        unread = [train for train, _ in folds] if len(folds) == 1 else []
        *read, whole = _read_sums([*(validation for _, validation in folds), *unread, data])
        totals = tuple(sum(column) % 2**64 for column in list(zip(*read, strict=True))[:2])
        if totals != whole[:2]:
            raise NotComparable("the data", "two reads of it differ; write it to a table first")
        pairs = [(whole, validation) for validation in read[: len(folds)]]
    return [
        {
            # With metadata: a tree splits nominal features differently.
            "columns": digest([frame.schema.json() for frame in fold]),
            "rows": digest([list(sums[:2]) for sums in pair]),
            "layout": digest([list(sums[2:]) for sums in pair]),
            "folds": digest(None if split_params is None else dict(split_params)),
        }
        for fold, pair in zip(folds, pairs, strict=True)
    ]


def _read_sums(frames: Sequence[Any]) -> list[_Sums]:
    aggregates = [functions.expr("count(*)")]
    aggregates += [
        functions.expr(f"sum(cast({name} AS decimal(20,0)))") for name in ("content", "placed")
    ]
    with ExitStack() as stack:
        hashed: list[Any] = []
        try:
            for at, frame in enumerate(frames):
                # Spark's loop caches the folds, and a cached plan may have other partitions.
                hashed.append(_hash_rows(frame, at).persist())
                stack.callback(unpersist_quietly, hashed[-1])
            united = reduce(lambda one, other: one.unionAll(other), hashed)
            rows = united.groupBy("frame").agg(*aggregates).collect()
        except Exception as error:
            message = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise NotComparable("the data", f"its rows cannot be hashed ({message})") from error
        partitions: list[int] = attempt(lambda: [one.rdd.getNumPartitions() for one in hashed], [])
    sums = {at: (count, int(one) % 2**64, int(other) % 2**64) for at, count, one, other in rows}
    return [(*sums.get(at, (0, 0, 0)), *partitions[at : at + 1]) for at in range(len(frames))]


def _hash_rows(frame: Any, number: int) -> Any:
    columns = [each for field in frame.schema.fields for each in _columns_to_hash(field)]
    return frame.select(
        functions.lit(number).alias("frame"),
        functions.xxhash64(functions.lit(1), *columns).alias("content"),
        # The partition and the position in it, even in a union.
        functions.monotonically_increasing_id().alias("place"),
    ).select("frame", "content", functions.xxhash64("content", "place").alias("placed"))


def _columns_to_hash(field: types.StructField) -> list[Any]:
    """Return a field's values, and what Spark's hash of them ignores."""
    column = functions.col(quoted(field.name))
    found = [column]
    if isinstance(field.dataType, _NESTED) and not isinstance(field.dataType, _LINALG):
        # A hash ignores nulls inside, and JSON replaces invalid characters; a map has no hash.
        hashes = [] if "map<" in field.dataType.simpleString() else [column]
        found = [functions.to_json(functions.struct(column), _JSON_OPTIONS), *hashes]
    elif isinstance(field.dataType, (types.DoubleType, types.FloatType)):
        # -0.0 and 0.0 have the same hash.
        found.append((column == 0) & (column.cast("string") == "-0.0"))
    if field.nullable:
        found.append(column.isNull())
    return found
