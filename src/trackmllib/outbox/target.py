"""Interfaces of what executes operations on tracking servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trackmllib.domain.operations import Operation


class Target(Protocol):
    """Executes operations one by one."""

    def apply(self, operation: Operation, redelivered: bool = False) -> None:
        """Execute an operation.

        A ``redelivered`` one may have been executed before, and must not take effect twice.

        :raises Rejected: No retry can succeed. After any other error a retry may succeed: after
            Unauthorized with other credentials, after RateLimited at a lower rate. RateLimited also
            means that the server has executed no part of the operation.
        """
        ...

    def answers(self, search_id: str) -> bool:
        """Whether the server of a search accepts writes now. Never raises."""
        ...

    def forget(self, search_id: str) -> None:
        """Drop the cache of a search that has no operations left."""
        ...


class TransactionalTarget(Protocol):
    """Executes many operations of one search in one transaction."""

    def runs_per_transaction(self) -> int:
        """Maximum number of runs in a transaction; 1 without transactions."""
        ...

    def transaction_size(self, operations: Sequence[Operation]) -> int:
        """How many of the first operations fit into one transaction."""
        ...

    def apply_in_transaction(self, operations: Sequence[Operation]) -> bool:
        """Execute all operations or none; return whether it did. Never raises."""
        ...
