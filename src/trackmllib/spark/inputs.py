"""Columns that a fitted model reads, found by Spark's analysis, without a Spark job.

The model transforms a DataFrame with the schema of the data and without partitions. Spark's
optimizer then removes every column on which the prediction does not depend. A removed column is an
input too if the model does not transform without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import StructField, StructType

from trackmllib.guard import attempt

# What MLflow's Python functions of Spark models return.
PREDICTION = "prediction"
# The most often that a model transforms; the columns that are undecided then stay inputs.
MOST_TRANSFORMS = 40
# Leaves of a plan that read other data, and hide none of the columns.
_OTHER_DATA = frozenset(
    (
        "DataSourceV2Relation",
        "DataSourceV2ScanRelation",
        "HiveTableRelation",
        "LocalRelation",
        "LogicalRelation",
        "OneRowRelation",
        "Range",
    )
)
_ID = re.compile(r"#(\d+)")


def inputs_and_outputs(
    model: Any, dataset: Any, not_inputs: Collection[str] = ()
) -> tuple[Any, Any]:
    """The columns of ``dataset`` that a model reads, and its output, as DataFrames.

    If Spark's analysis fails (a stage of the user's reads a row, for example), these are all
    columns without ``not_inputs``, which only the training needs, if the model transforms without
    them.
    """
    for sized in (False, True):
        found = attempt(lambda: _analyzed(model, dataset, sized=sized), None)  # noqa: B023 - called at once
        if found is not None:
            return found
    inputs = dataset.drop(*not_inputs)
    try:
        return inputs, model.transform(inputs)
    except Exception:  # noqa: BLE001 - the user's code; a stage may need the label
        return dataset, model.transform(dataset)


def quoted(name: str) -> str:
    """The name of a column, quoted for ``select``."""
    return "`" + name.replace("`", "``") + "`"


def _analyzed(model: Any, dataset: Any, *, sized: bool) -> tuple[Any, Any]:
    """Inputs and outputs by Spark's analysis. Raises if the analysis fails."""
    names = list(dataset.columns)
    session = dataset.sparkSession
    schema = _with_sizes(dataset.schema) if sized else dataset.schema
    empty = session.createDataFrame(session.sparkContext.emptyRDD(), schema)
    whole = model.transform(empty)
    wanted = _wanted(model, names, list(whole.columns))
    kinds = {name: whole.schema[name].dataType for name in wanted}
    made: dict[frozenset[str], Any] = {frozenset(names): whole}

    def works(some: frozenset[str]) -> bool:
        frame = empty.select(*(quoted(name) for name in names if name in some))
        made[some] = model.transform(frame)
        return {name: made[some].schema[name].dataType for name in wanted} == kinds

    inputs = _needed(
        names,
        _read(whole.select(*map(quoted, wanted)), names),
        lambda some: attempt(lambda: works(some), False),
    )
    return dataset.select(*(quoted(name) for name in names if name in inputs)), made[inputs]


def _with_sizes(schema: StructType) -> StructType:
    """The schema with a size for each vector, which VectorAssembler would read from a row."""
    return StructType(
        [
            StructField(
                field.name,
                field.dataType,
                field.nullable,
                {"ml_attr": {"num_attrs": 1}, **(field.metadata or {})},
            )
            if isinstance(field.dataType, VectorUDT)
            else field
            for field in schema.fields
        ]
    )


def _wanted(model: Any, known: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The output columns of a model that matter: its prediction, or else all of them."""
    made = [name for name in columns if name not in known]
    last = model
    while getattr(last, "stages", None):
        last = last.stages[-1]
    names = [PREDICTION]
    for param in ("predictionCol", "outputCol"):
        value = attempt(lambda: last.getOrDefault(param), None)  # noqa: B023 - called at once
        names += [value] if isinstance(value, str) else []
    return next(([name] for name in names if name in made), made or list(columns))


def _needed(
    names: Sequence[str], read: frozenset[str], works: Callable[[frozenset[str]], bool]
) -> frozenset[str]:
    """The columns in ``read``, and those without which the model does not transform."""
    kept = frozenset(names)
    left = MOST_TRANSFORMS
    groups = [[name for name in names if name not in read]]
    while groups and left:
        group = groups.pop()
        if not group:
            continue
        left -= 1
        if works(kept.difference(group)):
            kept = kept.difference(group)
        elif len(group) > 1:
            middle = len(group) // 2
            groups += [group[:middle], group[middle:]]
    return kept


def _read(frame: Any, names: Sequence[str]) -> frozenset[str]:
    """The columns, of those in ``names``, on which the rows of a DataFrame depend.

    All of them if the plan does not tell.
    """
    execution = frame._jdf.queryExecution()
    plan = execution.optimizedPlan()
    ids = _ids(plan.outputSet())
    of_leaves: dict[str, str] = {}
    tells = execution.analyzed().subqueriesAll().isEmpty()
    for node, children in _nodes(plan):
        name = node.nodeName()
        ids |= _ids(node.references())
        if not children and name not in _OTHER_DATA:
            attributes = list(_items(node.output()))
            tells = tells and [each.name() for each in attributes] == list(names)
            of_leaves.update((str(each.exprId().id()), each.name()) for each in attributes)
        # A union has the columns of its children by position.
        tells = tells and name != "Union"
    if not tells or not of_leaves:
        return frozenset(names)
    return frozenset(name for key, name in of_leaves.items() if key in ids)


def _ids(attributes: Any) -> set[str]:
    """The ids of a set of attributes, whose text is like ``{features#12, fold#13L}``."""
    return set(_ID.findall(attributes.toString()))


def _nodes(plan: Any) -> Iterator[tuple[Any, list[Any]]]:
    """The nodes of a plan, each with its children."""
    children = list(_items(plan.children()))
    yield plan, children
    for child in children:
        yield from _nodes(child)


def _items(sequence: Any) -> Iterator[Any]:
    """The items of a Scala sequence."""
    for at in range(sequence.size()):
        yield sequence.apply(at)
