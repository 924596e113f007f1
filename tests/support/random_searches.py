"""Random tuners by seed, and all numbers of their models."""

from __future__ import annotations

import random
from typing import Any

from pyspark.ml import Pipeline, Transformer, feature
from pyspark.ml.classification import DecisionTreeClassifier, LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from pyspark.sql import functions

SENTENCE = "the spark of a fold is in its tree and so on until all are read again"


class Unknown(Transformer):
    """A transformer that is user code."""

    def _transform(self, dataset: Any) -> Any:
        return dataset.withColumn("unknown", dataset["a"] + 1.0)


def rows(spark: Any) -> Any:
    """Return 48 rows of two classes, created by Spark.

    They are in one partition, so that no sum depends on the order of its parts.
    """
    number = functions.col("id")

    def pick(texts: list[str], salt: int) -> Any:
        at = functions.pmod(functions.hash(number, functions.lit(salt)), len(texts)) + 1
        return functions.element_at(functions.array(*map(functions.lit, texts)), at)

    numbers = [functions.sin(number * 7), functions.cos(number) * 3, number % 4, number % 5 / 5]
    made = spark.range(0, 48, 1, 1).select(
        array_to_vector(functions.array(*(one.cast("double") for one in numbers))).alias("raw"),
        (functions.sin(number * 11) * 2).alias("a"),
        pick(["red", "green", "blue"], 0).alias("colour"),
        functions.concat_ws(" ", *(pick(SENTENCE.split(), salt) for salt in range(6))).alias(
            "text"
        ),
        functions.when(number % 3 == 0, 1.0).otherwise(0.0).alias("label"),
        (number % 2).cast("int").alias("fold"),
    )
    first_pca(made)
    return made


def first_pca(data: Any) -> None:
    """Initialize Java's LAPACK, as stock Spark and Connect need it.

    Its first calls must not be concurrent (trackmllib/spark/middleware/lapack.py).
    """
    feature.PCA(k=1, inputCol="raw", outputCol="first").fit(data)


def random_search(seed: int) -> Any:
    """A tuner of a Pipeline with a grid of two to four candidates."""
    pick = random.Random(seed)
    stages, choices = (_of_text if pick.random() < 0.4 else _of_numbers)(pick)
    last, its_choices = _last(pick)
    stages.append(last)
    if pick.random() < 0.2:
        stages.append(feature.Binarizer(inputCol="a", outputCol="behind", threshold=0.5))
    pipeline = Pipeline(stages=stages)
    maps: list[dict[Any, Any]] = [{}]
    for param, values in pick.sample(choices, min(len(choices), pick.randrange(3))) + its_choices:
        maps = [{**extra, param: value} for extra in maps for value in values]
    maps = pick.sample(maps, min(len(maps), 2))
    kind = pick.random()
    if kind < 0.3:
        maps += [{}, {}]
    elif kind < 0.45:
        # Stages as a param: two candidates have another last stage.
        other, _ = _last(pick)
        maps += [{pipeline.stages: [*stages[: stages.index(last)], other]}] * 2
    evaluator = MulticlassClassificationEvaluator(
        metricName=pick.choice(["f1", "logLoss", "weightedPrecision"])
    )
    tuner: Any
    if pick.random() < 0.6:
        tuner = TrainValidationSplit(trainRatio=0.6)
    else:
        tuner = CrossValidator(numFolds=2, foldCol="")
        if pick.random() < 0.3:
            tuner.setNumFolds(2).setFoldCol("fold")
    return tuner._set(
        estimator=pipeline,
        estimatorParamMaps=maps,
        evaluator=evaluator,
        seed=seed,
        parallelism=pick.choice([1, 2, 3]),
        collectSubModels=pick.random() < 0.5,
    )


def wide_search() -> Any:
    """A tuner whose candidates share one stage, and in pairs one of 18 more."""
    scaler = feature.StandardScaler(inputCol="raw", outputCol="scaled")
    weighed = feature.IDF(inputCol="scaled", outputCol="features")
    tree = DecisionTreeClassifier(maxDepth=1)
    maps = [
        {weighed.minDocFreq: count, tree.minInstancesPerNode: rows}
        for count in range(18)
        for rows in (1, 2)
    ]
    return TrainValidationSplit(
        estimator=Pipeline(stages=[scaler, weighed, tree]),
        estimatorParamMaps=maps,
        evaluator=MulticlassClassificationEvaluator(),
        seed=1,
        parallelism=2,
    )


def outcome(model: Any) -> dict[str, Any]:
    """Return all numbers of a tuner's model and of the models in it."""
    sub_models = model.subModels or []
    if sub_models and not isinstance(sub_models[0], list):
        sub_models = [sub_models]
    return {
        "averages": [value.hex() for value in getattr(model, "avgMetrics", [])],
        "deviations": [value.hex() for value in getattr(model, "stdMetrics", [])],
        "scores": [value.hex() for value in getattr(model, "validationMetrics", [])],
        "best": described(model.bestModel),
        "sub models": [[described(one) for one in fold] for fold in sub_models],
    }


def described(pipeline: Any) -> list[tuple[Any, ...]]:
    """Return class, uid, params and fitted values of the stages of a pipeline model."""
    return [
        (
            type(stage).__name__,
            stage.uid,
            sorted((p.name, repr(value)) for p, value in stage.extractParamMap().items()),
            [(name, repr(_value(stage, name))) for name in _FITTED if hasattr(type(stage), name)],
        )
        for stage in pipeline.stages
    ]


_FITTED = [
    "toDebugString",
    "coefficientMatrix",
    "interceptVector",
    "coefficients",
    "intercept",
    "labels",
    "mean",
    "std",
    "pc",
    "idf",
    "docFreq",
    "numDocs",
    "categorySizes",
    "originalMin",
    "originalMax",
    "vocabulary",
    "maxAbs",
]


def _value(stage: Any, name: str) -> Any:
    try:
        value = getattr(stage, name)
    except Exception as error:  # noqa: BLE001 - some models lack it
        return type(error).__name__
    return value.toArray().tolist() if hasattr(value, "toArray") else value


def _of_numbers(pick: random.Random) -> tuple[list[Any], list[Any]]:
    stages: list[Any] = []
    choices: list[Any] = []
    parts = ["a"]
    if pick.random() < 0.5:
        index = feature.StringIndexer(inputCol="colour", outputCol="index")
        coded = feature.OneHotEncoder(inputCols=["index"], outputCols=["coded"])
        stages += [index, coded]
        parts.append("coded")
        choices += [
            (index.stringOrderType, ["frequencyDesc", "alphabetAsc"]),
            (coded.dropLast, [True, False]),
        ]
    if pick.random() < 0.2:
        stages.append(Unknown())
        parts.append("unknown")
    if pick.random() < 0.3:
        binary = feature.Binarizer(inputCol="a", outputCol="binary", threshold=0.0)
        stages.append(binary)
        parts.append("binary")
        choices.append((binary.threshold, [0.0, 0.5]))
    column = "raw"
    for kind in pick.sample(["standard", "min and max", "pca", "normal"], pick.randrange(1, 3)):
        made: Any
        if kind == "standard":
            made = feature.StandardScaler(withMean=True)
            choices.append((made.withMean, [True, False]))
        elif kind == "min and max":
            made = feature.MinMaxScaler()
            choices.append((made.max, [1.0, 2.0]))
        elif kind == "pca":
            made = feature.PCA(k=3)
            choices.append((made.k, [2, 3]))
        else:
            made = feature.Normalizer()
            choices.append((made.p, [1.0, 2.0]))
        made._set(inputCol=column, outputCol=kind.replace(" ", "_"))
        column = made.getOutputCol()
        stages.append(made)
    stages.append(feature.VectorAssembler(inputCols=[*parts, column], outputCol="features"))
    return stages, choices


def _of_text(pick: random.Random) -> tuple[list[Any], list[Any]]:
    words = feature.RegexTokenizer(inputCol="text", outputCol="words", pattern=" ")
    stages: list[Any] = [words]
    choices: list[Any] = [(words.minTokenLength, [1, 3])]
    column = "words"
    if pick.random() < 0.5:
        stops = feature.StopWordsRemover(inputCol=column, outputCol="kept")
        stages.append(stops)
        choices.append((stops.caseSensitive, [True, False]))
        column = "kept"
    if pick.random() < 0.75:
        counted: Any = feature.HashingTF(inputCol=column, outputCol="counts", numFeatures=16)
        choices.append((counted.binary, [True, False]))
    else:
        counted = feature.CountVectorizer(inputCol=column, outputCol="counts", minDF=2.0)
    weighed = feature.IDF(inputCol="counts", outputCol="features")
    choices.append((weighed.minDocFreq, [0, 3]))
    return [*stages, counted, weighed], choices


def _last(pick: random.Random) -> tuple[Any, list[Any]]:
    if pick.random() < 0.5:
        tree = DecisionTreeClassifier(maxDepth=2)
        return tree, [(tree.maxDepth, [1, 2])]
    regression = LogisticRegression(maxIter=1)
    return regression, [(regression.regParam, [0.0, 0.1])]
