"""Initialization of Java's LAPACK before concurrent fits.

Without a native LAPACK, Spark uses netlib's Java translation, for PCA and GaussianMixture. The
first call of its ``dlamch`` measures the machine's precision into static fields, without a lock. If
two threads make that call concurrently, the fields may get wrong values, some permanently: then a
decomposition never ends (in ``dlascl``), does not converge, or is wrong without an error.
"""

from __future__ import annotations

import threading
from typing import Any

from trackmllib.support.guard import attempt

_lock = threading.Lock()


def initialize_lapack(data: Any) -> None:
    """Make the first call of ``dlamch`` in the JVM of a DataFrame.

    Later calls only read the fields, so this changes no result. Does nothing on Connect, where a
    DataFrame has no JVM.
    """
    with _lock:
        attempt(lambda: data.sparkSession._jvm.org.netlib.lapack.Dlamch.dlamch("E"), None)
