"""Outbox that consists of other outboxes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from trackmllib.outbox.base import Outbox


class CompositeOutbox(Outbox):
    """Outbox that passes each row to the member that holds it."""

    @abstractmethod
    def _by_outbox(self, numbers: Iterable[int]) -> list[tuple[Outbox, list[int]]]:
        """Group row numbers by member, translated into its own numbers."""

    def mark_sent(self, numbers: Iterable[int]) -> None:
        for outbox, own in self._by_outbox(numbers):
            outbox.mark_sent(own)

    def unmark_sent(self, numbers: Iterable[int]) -> None:
        for outbox, own in self._by_outbox(numbers):
            outbox.unmark_sent(own)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        for outbox, own in self._by_outbox(numbers):
            outbox.acknowledge(own)

    def hold(self, numbers: Iterable[int]) -> None:
        for outbox, own in self._by_outbox(numbers):
            outbox.hold(own)

    def unhold(self, numbers: Iterable[int]) -> None:
        for outbox, own in self._by_outbox(numbers):
            outbox.unhold(own)

    def defer(self, numbers: Iterable[int], reason: str) -> None:
        for outbox, own in self._by_outbox(numbers):
            outbox.defer(own, reason)

    def reject(self, numbers: Iterable[int], reason: str) -> None:
        for outbox, own in self._by_outbox(numbers):
            outbox.reject(own, reason)
