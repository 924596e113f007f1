"""The ``trackmllib`` command."""

from trackmllib.cli.main import main

__all__ = ["main"]
