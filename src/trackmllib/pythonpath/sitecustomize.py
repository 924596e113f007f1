"""What Python runs at its start under ``trackmllib run``, before the sitecustomize of the user's.

Any Python may meet it, also an old one, and one whose environment has no trackmllib.
"""

import os
import sys

# Spark's own Python workers are left alone, down to what they import.
if os.environ.get("TRACKMLLIB_AUTOLOG") and "-m pyspark." not in " ".join(
    getattr(sys, "orig_argv", ())[:3]
):
    try:
        import trackmllib.startup

        trackmllib.startup.watch()
    except Exception:  # noqa: BLE001 - no program fails, or prints a line, because of us
        pass

# As if this folder were not there, Python goes on to the next sitecustomize. If there is none, or
# if it fails, the error is the one that Python would have seen.
_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _here]
del sys.modules["sitecustomize"]
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
