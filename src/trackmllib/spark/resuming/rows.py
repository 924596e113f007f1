"""Fingerprints of the rows of folds: their content, order and partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from typing import Any

from pyspark.ml.linalg import MatrixUDT, VectorUDT
from pyspark.sql import functions, types

from trackmllib.guard import attempt
from trackmllib.spark.interventions import let_go
from trackmllib.spark.resuming.fingerprint import Unsound, digest

# Fingerprints of the training and validation data of a fold, by the name of the part.
Fold = Mapping[str, str]
# Of a frame: the number of rows, the sum of their hashes, the sum of hashes of their places, and
# the number of partitions with empty ones, unless on Spark Connect.
Sums = tuple[int, ...]
_NESTED = (types.ArrayType, types.MapType, types.StructType, types.UserDefinedType)
_LINALG = (MatrixUDT, VectorUDT)
_JSON = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def read(
    data: Any, folds: Sequence[tuple[Any, Any]], drawn: Mapping[str, Any] | None, without: str
) -> list[Fold]:
    """Read and fingerprint all rows of the folds in one aggregation.

    ``drawn`` has the params by which Spark drew the folds from ``data``; None if Spark did not draw
    them, so that the training data is read too. ``without`` names the column that Spark adds.

    :raises Unsound: A column cannot be hashed, or two reads differ.
    """
    folds = [tuple(frame.drop(without) for frame in fold) for fold in folds]
    if drawn is None:
        sums = _read([frame for fold in folds for frame in fold])
        pairs = list(zip(sums[::2], sums[1::2], strict=True))
    else:
        # The training data is the rest of the rows, in order; for one fold, a check reads it too.
        left_out = [train for train, _ in folds] if len(folds) == 1 else []
        *read, whole = _read([*(validation for _, validation in folds), *left_out, data])
        if tuple(sum(of_all) % 2**64 for of_all in list(zip(*read, strict=True))[:2]) != whole[:2]:
            raise Unsound("the data", "two reads of it differ; write it to a table first")
        pairs = [(whole, validation) for validation in read[: len(folds)]]
    return [
        {
            # Including metadata: whether a feature is nominal determines how a tree splits.
            "columns": digest([frame.schema.json() for frame in fold]),
            "rows": digest([list(sums[:2]) for sums in pair]),
            "layout": digest([list(sums[2:]) for sums in pair]),
            "folds": digest(None if drawn is None else dict(drawn)),
        }
        for fold, pair in zip(folds, pairs, strict=True)
    ]


def _read(frames: Sequence[Any]) -> list[Sums]:
    kept = ("count(*)", *(f"sum(cast({name} AS decimal(20,0)))" for name in ("content", "placed")))
    with ExitStack() as stack:
        hashed: list[Any] = []
        try:
            for at, frame in enumerate(frames):
                # Cached, as Spark's loop caches the folds: its plan may have other partitions.
                hashed.append(_hashed(frame, at).persist())
                stack.callback(let_go, hashed[-1])
            united = reduce(lambda one, other: one.unionAll(other), hashed)
            found = united.groupBy("part").agg(*map(functions.expr, kept)).collect()
        except Exception as error:
            said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise Unsound("the data", f"its rows cannot be hashed ({said})") from error
        partitions: list[int] = attempt(lambda: [one.rdd.getNumPartitions() for one in hashed], [])
    sums = {at: (rows, int(one) % 2**64, int(other) % 2**64) for at, rows, one, other in found}
    return [(*sums.get(at, (0, 0, 0)), *partitions[at : at + 1]) for at in range(len(frames))]


def _hashed(frame: Any, part: int) -> Any:
    columns = [each for field in frame.schema.fields for each in _hashable(field)]
    return frame.select(
        functions.lit(part).alias("part"),
        functions.xxhash64(functions.lit(1), *columns).alias("content"),
        # The partition and the position in it, counted for each frame by itself even in a union.
        functions.monotonically_increasing_id().alias("place"),
    ).select("part", "content", functions.xxhash64("content", "place").alias("placed"))


def _hashable(field: types.StructField) -> list[Any]:
    """Columns to hash for a field: its values, and what Spark's hash ignores."""
    column = functions.col("`{}`".format(field.name.replace("`", "``")))
    found = [column]
    if isinstance(field.dataType, _NESTED) and not isinstance(field.dataType, _LINALG):
        # A hash ignores nulls inside, and JSON replaces invalid characters; a map has no hash.
        hashes = [] if "map<" in field.dataType.simpleString() else [column]
        found = [functions.to_json(functions.struct(column), _JSON), *hashes]
    elif isinstance(field.dataType, (types.DoubleType, types.FloatType)):
        # -0.0 and 0.0 have the same hash.
        found.append((column == 0) & (column.cast("string") == "-0.0"))
    if field.nullable:
        found.append(column.isNull())
    return found
