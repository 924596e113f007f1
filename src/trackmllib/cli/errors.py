"""Error that ends a command with a message and an exit code."""

from __future__ import annotations


class CommandError(Exception):
    """Failure of a command; a wrong command line is a ``click.UsageError``."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
