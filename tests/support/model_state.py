"""All numbers and params of a model of Spark, to compare two models to the last bit."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.ml import classification, clustering, feature, recommendation, regression  # noqa: F401
from pyspark.ml.linalg import DenseMatrix

# Members of a Java model, called without arguments.
MEMBERS = {
    "PCAModel": ("pc", "explainedVariance"),
    "IDFModel": ("idf", "docFreq", "numDocs"),
    "LogisticRegressionModel": ("coefficientMatrix", "interceptVector", "numClasses"),
    "LinearSVCModel": ("coefficients", "intercept", "numClasses"),
    "StandardScalerModel": ("mean", "std"),
    "MinMaxScalerModel": ("originalMin", "originalMax"),
    "StringIndexerModel": ("labelsArray",),
    "OneHotEncoderModel": ("categorySizes",),
    "ALSModel": ("rank",),
}


def state(model: Any, data: Any) -> dict[str, Any]:
    """Params and numbers of a model, and its output for the data."""
    java = model._java_obj
    found: dict[str, Any] = {"uid": model.uid, "java uid": java.uid(), **_params(model)}
    found["parent"] = java.parent().uid() if java.hasParent() else None
    found["java params"] = java.extractParamMap().toString().replace(" ", "")
    if hasattr(java, "explainParams"):
        found["explained"] = java.explainParams()
    if hasattr(model, "featureImportances"):
        found |= _trees(model)
    for name in MEMBERS.get(type(model).__name__, ()):
        found[name] = _bits(getattr(model, name, None), java, name)
    if isinstance(model, recommendation.ALSModel):
        for factors in (model.userFactors, model.itemFactors):
            rows = sorted((row.id, tuple(row.features)) for row in factors.collect())
            found.setdefault("factors", []).append(rows)
    output = model.transform(data)
    found["schema"] = [
        (field.simpleString(), str(field.metadata)) for field in output.schema.fields
    ]
    found["rows"] = [tuple(_value(value) for value in row) for row in output.collect()]
    return found


def _params(model: Any) -> dict[str, Any]:
    return {
        f"param {param.name}": (repr(model.getOrDefault(param)), model.isSet(param))
        for param in model.params
        if model.isDefined(param)
    }


def _trees(model: Any) -> dict[str, Any]:
    java = model._java_obj
    roots = [java.rootNode()] if hasattr(model, "depth") else [t.rootNode() for t in java.trees()]
    found: dict[str, Any] = {"trees": [_tree_bytes(model, root) for root in roots]}
    if hasattr(model, "treeWeights"):
        found["weights"] = [float(weight).hex() for weight in model.treeWeights]
    found["features"] = model.numFeatures
    found["importances"] = _value(model.featureImportances)
    found["classes"] = getattr(model, "numClasses", None)
    return found


def _bits(value: Any, java: Any, name: str) -> Any:
    if isinstance(value, DenseMatrix):
        return (value.numRows, value.numCols, value.isTransposed, value.values.tobytes())
    if value is None:
        return list(getattr(java, name)())
    return _value(value)


def _value(value: Any) -> Any:
    if hasattr(value, "toArray"):
        array = np.ascontiguousarray(value.toArray(), dtype=float)
        return type(value).__name__, array.shape, array.tobytes()
    if isinstance(value, float):
        return value.hex()
    return repr(value)


def _tree_bytes(model: Any, root: Any) -> bytes:
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    method = _method(context._gateway)
    arguments = context._gateway.new_array(context._jvm.java.lang.Object, 1)
    arguments[0] = root
    return bytes(method.invoke(None, arguments))


@functools.cache
def _method(gateway: Any) -> Any:
    jvm = gateway.jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setParentClassLoader(jvm.Thread.currentThread().getContextClassLoader())
    compiler.cook(Path(__file__).with_name("TreeBytes.java").read_text())
    found = compiler.getClassLoader().loadClass("support.TreeBytes")
    return next(method for method in found.getMethods() if method.getName() == "of")
