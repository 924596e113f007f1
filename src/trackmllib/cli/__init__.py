"""The command ``trackmllib``: what lies on disk, and how to have it delivered."""

from trackmllib.cli.main import main

__all__ = ["main"]
