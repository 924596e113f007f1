"""Error about a part of a search that cannot be compared."""

from __future__ import annotations


class NotComparable(Exception):
    """The part ``what`` cannot be compared, for the reason ``why``."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what, self.why = what, why

    def __str__(self) -> str:
        return f"{self.what or 'a value'}: {self.why}"

    def inside(self, what: str) -> NotComparable:
        """Add the part that contains this one, and return self."""
        self.what = f"{self.what} in {what}" if self.what else what
        return self


def hidden(what: str) -> NotComparable:
    """Create the error for a value that contains a secret."""
    why = "its value is hidden, and readers of the published key could test guesses of it"
    return NotComparable(what, f"{why}; read a secret from the environment instead")
