"""What has no canonical form, so that nobody can say whether it is the same as before."""

from __future__ import annotations


class Unsound(Exception):
    """``what`` cannot be compared with an earlier search, ``why``."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why

    def within(self, what: str) -> Unsound:
        """The same, found in here."""
        return Unsound(what, f"{self.what}, {self.why}" if self.what else self.why)


def hidden(what: str) -> Unsound:
    """Unsound for a value with a secret, because a digest would let readers test guesses."""
    return Unsound(what, "its value is hidden, and a published digest could reveal it")
