"""Fingerprints of the rows of folds, which do not depend on the order of the rows.

Spark draws folds with ``rand(seed)``, which depends on how the data is partitioned, so the same
data and seed do not make the same folds. The rows say it: one aggregation counts and hashes those
of all folds, training and validation apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import functions
from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from trackmllib.spark.resuming.canonical import digest
from trackmllib.spark.resuming.unsound import Unsound

_SUM = 2**64


@dataclass(frozen=True)
class Sum:
    """How many rows, the sum of one hash of them and the xor of another."""

    rows: int = 0
    total: int = 0
    xor: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.rows + other.rows, (self.total + other.total) % _SUM, self.xor ^ other.xor)

    def __sub__(self, other: Sum) -> Sum:
        return Sum(self.rows - other.rows, (self.total - other.total) % _SUM, self.xor ^ other.xor)

    @property
    def text(self) -> str:
        return f"{self.rows}:{self.total:x}:{self.xor % _SUM:x}"


@dataclass(frozen=True)
class Fold:
    """Fingerprints of what is trained on and what is scored in a fold, with names, types and
    metadata of the columns.
    """

    train: str
    validation: str


@dataclass(frozen=True)
class Rows:
    """The folds, and all rows together."""

    folds: tuple[Fold, ...]
    whole: str


def read(
    data: Any, folds: Sequence[tuple[Any, Any]], *, partition: bool, without: str = ""
) -> Rows:
    """Read all rows of folds in one aggregation.

    ``partition``: each fold holds every row of ``data`` once, and what folds are scored on is all
    of it, as Spark's own folds do: then training data is what is left. ``without`` names a column
    that Spark adds to draw them.

    :raises Unsound: a column cannot be hashed, or two readings differ.
    """
    if partition and len(folds) > 1:
        *scored, whole = _read([*(validation for _, validation in folds), data], without)
        if reduce(Sum.__add__, scored) != whole:
            raise Unsound("the data", _DIFFER)
        sums = [(whole - validation, validation) for validation in scored]
    else:
        frames = [frame for fold in folds for frame in fold]
        read = _read([*frames, data], without)
        sums, whole = list(zip(read[:-1:2], read[1:-1:2], strict=True)), read[-1]
        if partition and sums[0][0] + sums[0][1] != whole:
            raise Unsound("the data", _DIFFER)
    columns = [_columns(frame, without) for _, frame in folds]
    return Rows(
        folds=tuple(
            Fold(digest([train.text, of_fold]), digest([validation.text, of_fold]))
            for (train, validation), of_fold in zip(sums, columns, strict=True)
        ),
        whole=digest([whole.text, _columns(data, without)]),
    )


_DIFFER = "two readings of it differ, as those of rand() or of a sample do"


def _columns(frame: Any, without: str) -> list[Any]:
    """Names, types and metadata: what is nominal decides how a tree splits."""
    return [json.loads(field.json()) for field in _fields(frame, without)]


def _fields(frame: Any, without: str) -> list[StructField]:
    return [field for field in frame.schema.fields if field.name != without]


def _read(frames: Sequence[Any], without: str) -> list[Sum]:
    parts = [_hashed(frame, without, at) for at, frame in enumerate(frames)]
    try:
        found = (
            reduce(lambda one, other: one.unionAll(other), parts)
            .groupBy("part")
            .agg(
                functions.count("*").alias("rows"),
                functions.sum(functions.col("one").cast("decimal(20,0)")).alias("total"),
                functions.expr("bit_xor(other)").alias("xor"),
            )
            .collect()
        )
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise Unsound("the data", f"its rows cannot be hashed ({said})") from error
    by_part = {row["part"]: row for row in found}
    return [
        Sum(int(row["rows"]), int(row["total"]) % _SUM, int(row["xor"])) if row else Sum()
        for row in (by_part.get(at) for at in range(len(frames)))
    ]


def _hashed(frame: Any, without: str, part: int) -> Any:
    """Two hashes of each row."""
    columns = []
    for field in _fields(frame, without):
        column = functions.col("`{}`".format(field.name.replace("`", "``")))
        columns.append(_hashable(column, field.dataType))
        if field.nullable:
            # A hash passes over what is null.
            columns.append(column.isNull())
    return frame.select(
        functions.lit(part).alias("part"),
        functions.xxhash64(functions.lit(1), *columns).alias("one"),
        functions.xxhash64(functions.lit(2), *columns).alias("other"),
    )


def _hashable(column: Any, kind: DataType) -> Any:
    """As it is; as JSON what may hold nulls inside, or is a map, which has no hash."""
    if isinstance(kind, (ArrayType, MapType, StructType)):
        return functions.to_json(functions.struct(column), _JSON)
    return column


_JSON = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}
