"""Input columns of a fitted model, found without a Spark job.

The model transforms an empty DataFrame with the schema of the data, and Spark's optimizer removes
the columns that the prediction does not depend on. A removed column is still an input if
``transform`` fails without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import StructField, StructType

from trackmllib.support.guard import attempt

# What MLflow's Python functions of Spark models return.
PREDICTION = "prediction"
# Columns that are undecided after so many calls of transform() count as inputs.
MAX_TRANSFORMS = 40
# Leaves of a plan that read other data than the columns.
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
    """Return the columns of ``dataset`` that a model reads, and its output.

    Both are DataFrames. If Spark's analysis fails, for example because a user's stage reads a row,
    the inputs are all columns except ``not_inputs``, or all if ``transform`` fails without these.
    """
    for sized in (False, True):
        found = attempt(lambda: _find_by_analysis(model, dataset, sized=sized), None)  # noqa: B023 - called at once
        if found is not None:
            return found
    inputs = dataset.drop(*not_inputs)
    try:
        return inputs, model.transform(inputs)
    except Exception:  # noqa: BLE001 - the user's code; a stage may need the label
        return dataset, model.transform(dataset)


def quoted(name: str) -> str:
    """Quote the name of a column for ``select``."""
    return "`" + name.replace("`", "``") + "`"


def _find_by_analysis(model: Any, dataset: Any, *, sized: bool) -> tuple[Any, Any]:
    """Find inputs and outputs by Spark's analysis; raises if that fails."""
    names = list(dataset.columns)
    session = dataset.sparkSession
    schema = _with_sizes(dataset.schema) if sized else dataset.schema
    empty = session.createDataFrame(session.sparkContext.emptyRDD(), schema)
    whole = model.transform(empty)
    predicted = _prediction_columns(model, names, list(whole.columns))
    kinds = {name: whole.schema[name].dataType for name in predicted}
    made: dict[frozenset[str], Any] = {frozenset(names): whole}

    def works(some: frozenset[str]) -> bool:
        frame = empty.select(*(quoted(name) for name in names if name in some))
        made[some] = model.transform(frame)
        return {name: made[some].schema[name].dataType for name in predicted} == kinds

    inputs = _necessary_columns(
        names,
        _columns_read(whole.select(*map(quoted, predicted)), names),
        lambda some: attempt(lambda: works(some), False),
    )
    return dataset.select(*(quoted(name) for name in names if name in inputs)), made[inputs]


def _with_sizes(schema: StructType) -> StructType:
    """Add sizes to vectors, which VectorAssembler would read from a row."""
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


def _prediction_columns(
    model: Any, input_names: Sequence[str], columns: Sequence[str]
) -> list[str]:
    """Return the prediction column, or all output columns if there is none."""
    made = [name for name in columns if name not in input_names]
    last = model
    while getattr(last, "stages", None):
        last = last.stages[-1]
    names = [PREDICTION]
    for param in ("predictionCol", "outputCol"):
        value = attempt(lambda: last.getOrDefault(param), None)  # noqa: B023 - called at once
        names += [value] if isinstance(value, str) else []
    return next(([name] for name in names if name in made), made or list(columns))


def _necessary_columns(
    names: Sequence[str], read: frozenset[str], works: Callable[[frozenset[str]], bool]
) -> frozenset[str]:
    """Return the columns in ``read``, and those that ``works`` fails without."""
    necessary = frozenset(names)
    left = MAX_TRANSFORMS
    groups = [[name for name in names if name not in read]]
    while groups and left:
        group = groups.pop()
        if not group:
            continue
        left -= 1
        if works(necessary.difference(group)):
            necessary = necessary.difference(group)
        elif len(group) > 1:
            middle = len(group) // 2
            groups += [group[:middle], group[middle:]]
    return necessary


def _columns_read(frame: Any, names: Sequence[str]) -> frozenset[str]:
    """Return which columns of ``names`` the rows of a DataFrame depend on.

    Returns all if the plan is inconclusive.
    """
    execution = frame._jdf.queryExecution()
    plan = execution.optimizedPlan()
    ids = _ids(plan.outputSet())
    leaf_names: dict[str, str] = {}
    is_conclusive = execution.analyzed().subqueriesAll().isEmpty()
    for node, children in _nodes(plan):
        name = node.nodeName()
        ids |= _ids(node.references())
        if not children and name not in _OTHER_DATA:
            attributes = list(_items(node.output()))
            is_conclusive = is_conclusive and [each.name() for each in attributes] == list(names)
            leaf_names.update((str(each.exprId().id()), each.name()) for each in attributes)
        # A union has the columns of its children by position.
        is_conclusive = is_conclusive and name != "Union"
    if not is_conclusive or not leaf_names:
        return frozenset(names)
    return frozenset(name for key, name in leaf_names.items() if key in ids)


def _ids(attributes: Any) -> set[str]:
    """Return the ids in attributes such as ``{features#12, fold#13L}``."""
    return set(_ID.findall(attributes.toString()))


def _nodes(plan: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield the nodes of a plan, each with its children."""
    children = list(_items(plan.children()))
    yield plan, children
    for child in children:
        yield from _nodes(child)


def _items(sequence: Any) -> Iterator[Any]:
    """Yield the items of a Scala sequence."""
    for at in range(sequence.size()):
        yield sequence.apply(at)
