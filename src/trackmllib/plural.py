"""Counts that agree with their nouns and verbs."""

from __future__ import annotations


def count(amount: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 setting``, ``4 settings``, ``1,000 settings``.

    ``many`` is the plural if it is not ``one`` with an s, as with a verb:
    ``count(1, "setting has", "settings have")``.
    """
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"
