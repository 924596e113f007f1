"""Finds Chromium or Chrome for the screenshots, or installs Chromium with apt-get."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent / "package.sh"
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# Root requires --no-sandbox; the browser only opens pages on loopback.
ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str:
    """Return the path of the browser."""
    found = _find()
    if found is None:
        print("The pictures need Chromium, and there is none on PATH.", flush=True)
        install = ["sh", str(PACKAGE), "--cask chromium", "chromium", "chromium-browser"]
        if subprocess.run(install, check=False).returncode == 0:
            found = _find()
    if found is None:
        raise SystemExit(1)
    return found


def _find() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)
