"""A JVM shared by the drivers of the tests, one after another."""

from __future__ import annotations

import subprocess
from typing import Any

from pyspark.java_gateway import launch_gateway


class SharedJvm:
    """A JVM that drivers connect to instead of starting one, as under ``spark-submit``.

    A driver whose Spark starts in a warm JVM takes half the CPU time of one that starts its own.
    """

    def __init__(self) -> None:
        self._gateway: Any = None
        self._user: subprocess.Popen | None = None

    def environ(self) -> dict[str, str]:
        """The variables that make pyspark connect; none while another driver is connected."""
        if self._user is not None and self._user.poll() is None:
            return {}
        if self._gateway is None:
            output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self._gateway = launch_gateway(popen_kwargs=output)
        else:
            self._stop_context()
        parameters = self._gateway.gateway_parameters
        return {
            "PYSPARK_GATEWAY_PORT": str(parameters.port),
            "PYSPARK_GATEWAY_SECRET": parameters.auth_token,
        }

    def connected(self, process: subprocess.Popen) -> None:
        """Keep the JVM for this driver until it ends."""
        self._user = process

    def _stop_context(self) -> None:
        """Stop the context of a driver that was killed."""
        package = self._gateway.jvm.org.apache.spark
        active = getattr(getattr(package, "SparkContext$"), "MODULE$").getActive()
        if active.isDefined():
            active.get().stop()


shared_jvm = SharedJvm()
