"""Results in the order of the grid, from fits computed in another order.

Spark raises the first error that it receives, so results and errors must arrive in its own order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from trackmllib.spark.middleware.base import SearchEnded, Task


class GridOrder:
    """Tasks that run in any order, and return results in the grid's order.

    :param last_candidate: Returns the candidate of this thread's last task, or None.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        candidates: Sequence[int],
        last_candidate: Callable[[], int | None],
    ) -> None:
        self._waiting = deque(tasks)
        self._expected = deque(candidates)
        self._last_candidate = last_candidate
        self._changed = threading.Condition()
        self._running = 0
        self._ended: dict[int, Future[Any]] = {}

    def tasks(self) -> list[Task]:
        """Create tasks that return the results in the order of the grid."""
        return [self._next_result] * len(self._waiting)

    def _next_result(self) -> Any:
        with self._changed:
            expected = self._expected.popleft()
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: expected in self._ended or self._waiting or not self._running
                )
                if expected in self._ended:
                    outcome = self._ended.pop(expected)
                    break
                if not self._waiting:
                    # Its task raised an error before its candidate was known.
                    raise SearchEnded
                task = self._waiting.popleft()
                self._running += 1
            self._run(task)
        return outcome.result()

    def _run(self, task: Task) -> None:
        """Run a task and store its result or error."""
        candidate: int | None = None
        outcome: Future[Any] = Future()
        try:
            result = task()
            candidate = result[0]
            outcome.set_result(result)
        except Exception as error:
            candidate = self._last_candidate()
            if candidate is None:
                raise
            outcome.set_exception(error)
        finally:
            with self._changed:
                self._running -= 1
                if candidate is not None:
                    self._ended[candidate] = outcome
                self._changed.notify_all()
