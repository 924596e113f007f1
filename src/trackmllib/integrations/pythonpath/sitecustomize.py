"""Runs at the start of Python under ``trackmllib run``.

Any Python may run it, even an old one, or one without trackmllib. The user's own ``sitecustomize``
runs after it.
"""

import os
import sys

# Spark's Python workers record nothing.
if os.environ.get("TRACKMLLIB_AUTOLOG") and "-m pyspark." not in " ".join(
    getattr(sys, "orig_argv", ())[:3]
):
    try:
        import trackmllib.integrations.process_startup

        trackmllib.integrations.process_startup.watch()
    except Exception:  # noqa: BLE001 - no program may fail, or print a line, because of us
        pass

# Import the next sitecustomize on the path, as Python would without this directory. Python handles
# its errors.
_directory = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _directory]
del sys.modules["sitecustomize"]
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
