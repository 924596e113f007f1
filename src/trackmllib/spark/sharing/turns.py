"""Results in the order of the grid, of fits computed in another order.

Spark's loop raises the first error that it receives: with one thread, the error of the first
candidate in the grid that fails.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from trackmllib.spark.interventions import SearchIsOver, Task, raising, returning


class Turns:
    """Tasks of a fold that compute the candidates in their own order.

    ``candidate`` returns the candidate of the last task in this thread, or None if unknown.
    """

    def __init__(
        self, tasks: Sequence[Task], candidates: Sequence[int], candidate: Callable[[], int | None]
    ) -> None:
        self._left = deque(tasks)
        self._wanted = deque(candidates)
        self._candidate = candidate
        self._changed = threading.Condition()
        self._running = 0
        self._ended: dict[int, Task] = {}

    def tasks(self) -> list[Task]:
        """Tasks for Spark: each returns the result of the grid's next candidate."""
        return [self._next] * len(self._left)

    def _next(self) -> Any:
        with self._changed:
            wanted = self._wanted.popleft()
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: wanted in self._ended or self._left or not self._running
                )
                if wanted in self._ended:
                    give = self._ended.pop(wanted)
                    break
                if not self._left:
                    # Its task has ended with an error that belongs to no candidate.
                    raise SearchIsOver
                task = self._left.popleft()
                self._running += 1
            self._run(task)
        return give()

    def _run(self, task: Task) -> None:
        """Run a task, and keep its result or error for its candidate's turn."""
        candidate: int | None = None
        try:
            result = task()
            candidate, give = result[0], returning(result)
        except Exception as error:
            candidate, give = self._candidate(), raising(error)
            if candidate is None:
                raise
        finally:
            with self._changed:
                self._running -= 1
                if candidate is not None:
                    self._ended[candidate] = give
                self._changed.notify_all()
