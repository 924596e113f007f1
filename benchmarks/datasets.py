"""The data of the benchmarks, generated or from scikit-learn; equal each time."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

IMAGE_SIDE = 28
# Of the pixels of MNIST's images 19 in 100 are not zero.
INKED = 0.19
WORDS, TOPICS = 5_000, 2
DIGITS = 1_797


def images(spark: Any, number: int) -> Any:
    """Return images of 28 x 28 pixels as sparse ``features``, and a text ``label``.

    As in MNIST: ten classes, ink in the middle, and a noisy shape per class.
    """
    from pyspark.ml.linalg import Vectors

    chance = np.random.default_rng(1)
    across = np.abs(np.arange(IMAGE_SIDE) - (IMAGE_SIDE - 1) / 2)
    middle = np.exp(-(across[:, None] ** 2 + across[None, :] ** 2) / 90).ravel()
    shapes = middle * chance.uniform(0.05, 1.0, (10, IMAGE_SIDE**2))
    shapes *= INKED * IMAGE_SIDE**2 / shapes.sum(axis=1, keepdims=True)
    rows = []
    for _ in range(number):
        label = int(chance.integers(10))
        (inked,) = np.nonzero(chance.uniform(size=IMAGE_SIDE**2) < shapes[label])
        values = chance.integers(1, 256, len(inked)).astype(float)
        rows.append((Vectors.sparse(IMAGE_SIDE**2, inked.tolist(), values.tolist()), str(label)))
    return _cached(spark.createDataFrame(rows, ["features", "label"]))


def digits(spark: Any, number: int = DIGITS) -> Any:
    """Return some of scikit-learn's digits: 64 pixels as ``features``, a number as ``label``."""
    from pyspark.ml.linalg import Vectors
    from sklearn.datasets import load_digits

    found = load_digits()
    rows = [
        (Vectors.dense(pixels.tolist()), float(label))
        for pixels, label in zip(found.data[:number], found.target[:number], strict=True)
    ]
    return _cached(spark.createDataFrame(rows, ["features", "label"]))


def texts(spark: Any, number: int, words: int) -> Any:
    """Return texts of so many words as ``text``, and one of two topics as ``label``.

    The frequency of a word falls with its rank, as in natural languages.
    """
    chance = random.Random(1)
    vocabulary = [f"word{i}" for i in range(WORDS)] + ["the", "of", "and", "a", "in", "to"]
    base = [1 / (rank + 10) for rank in range(WORDS)] + [0.02] * 6
    weights = [
        [weight * (1.6 if rank % TOPICS == topic else 1.0) for rank, weight in enumerate(base)]
        for topic in range(TOPICS)
    ]
    rows = []
    for number_of_text in range(number):
        topic = number_of_text % TOPICS
        chosen = chance.choices(vocabulary, weights[topic], k=words)
        rows.append((" ".join(chosen), float(topic)))
    return _cached(spark.createDataFrame(rows, ["text", "label"]))


def _cached(data: Any) -> Any:
    """Cache the data, so that creating it is not measured."""
    data = data.cache()
    data.count()
    return data
