"""Python and ``trackmllib`` as processes of their own, with what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TRACKMLLIB = [sys.executable, "-c", "from trackmllib.cli import main; raise SystemExit(main())"]


def environ(*folders: Path | str, **more: str) -> dict[str, str]:
    """The environment of the tests, with these folders first where Python looks."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join(filter(None, (*map(str, folders), *before)))
    kept = {k: v for k, v in os.environ.items() if k != "TRACKMLLIB_AUTOLOG"}
    return {**kept, "PYTHONPATH": path, **more}


def finished(
    command: list[str], env: dict[str, str], seconds: float = 120.0, **options
) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=seconds, check=False, **options
    )


def trackmllib_command(
    *arguments: str, env: dict[str, str] | None = None, **options
) -> subprocess.CompletedProcess:
    """Run ``trackmllib`` with these arguments to its end."""
    return finished([*TRACKMLLIB, *arguments], environ() if env is None else env, **options)
