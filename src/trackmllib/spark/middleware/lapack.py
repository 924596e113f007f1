"""Initialization of Java's LAPACK before fits run at once.

Without a native LAPACK, Spark uses netlib's Java translation, for PCA and GaussianMixture. Its
``dlamch`` measures the precision of the machine at the first call, in static fields and without a
lock. If two threads make first calls at once, the fields may get wrong values, some for good: a
decomposition then never ends (in ``dlascl``), does not converge, or is wrong without an error.
"""

from __future__ import annotations

import threading
from typing import Any

from trackmllib.support.guard import attempt

_lock = threading.Lock()


def initialize_lapack(data: Any) -> None:
    """Make the first call of ``dlamch`` in the JVM of a DataFrame, if it has one.

    Later calls only read the fields, so this changes no result. On Connect, it does nothing.
    """
    with _lock:
        attempt(lambda: data.sparkSession._jvm.org.netlib.lapack.Dlamch.dlamch("E"), None)
