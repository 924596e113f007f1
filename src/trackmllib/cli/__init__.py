"""The command ``trackmllib``: recording without touching the code, and what lies on disk."""

from trackmllib.cli.main import main

__all__ = ["main"]
