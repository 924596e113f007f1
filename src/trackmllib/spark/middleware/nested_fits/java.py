"""Compile ``NestedModels.java`` in the JVM, with Spark's own Janino."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.resources import files
from typing import Any

SOURCE = "NestedModels.java"
_CLASS = "trackmllib.NestedModels"

_lock = threading.Lock()
# The compiled class, or the error, by the last gateway.
_compiled: tuple[Any, NestedModels | Exception] | None = None


def source() -> str:
    """Text of the Java class."""
    return (files(__package__) / SOURCE).read_text()


class NestedModels:
    """Static methods of the Java class, by name."""

    def __init__(self, jvm: Any, gateway: Any) -> None:
        compiler = jvm.org.codehaus.janino.SimpleCompiler()
        # Spark's own classes, and those of packages that were added later.
        compiler.setParentClassLoader(jvm.Thread.currentThread().getContextClassLoader())
        compiler.cook(source())
        compiled = compiler.getClassLoader().loadClass(_CLASS)
        self._methods = {method.getName(): method for method in compiled.getMethods()}
        self._object = jvm.java.lang.Object
        self._gateway = gateway

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self._methods[name]

        def call(*arguments: Any) -> Any:
            array = self._gateway.new_array(self._object, len(arguments))
            for index, argument in enumerate(arguments):
                array[index] = argument
            return method.invoke(None, array)

        return call


def nested_models(session: Any) -> NestedModels:
    """Return the class; the first call for a JVM compiles it, in about 1 s.

    :raises Exception: This Spark has no Janino, or its classes are not as expected.
    """
    global _compiled
    with _lock:
        jvm, gateway = session._jvm, session.sparkContext._gateway
        if _compiled is None or _compiled[0] is not gateway:
            try:
                _compiled = gateway, NestedModels(jvm, gateway)
            except Exception as error:  # noqa: BLE001 - raised below
                _compiled = gateway, error
        found = _compiled[1]
    if isinstance(found, Exception):
        raise found
    return found
