"""Spark's choice of the best candidate, which passes over those that cannot win.

``_fit`` of the tuners asks ``np.argmax`` or ``np.argmin`` of its module for the index of the best
score. There is no score so bad that a candidate which has failed loses with it: the worst one may
be that of another candidate, and of equal ones numpy takes the first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import Any

Choose = Callable[[Sequence[Any]], Any]


def choose_without(choose: Choose, scores: Sequence[Any], cannot_win: Collection[int]) -> Any:
    """What ``choose``, numpy's argmax or argmin, takes of these scores but for those of
    ``cannot_win``; of all, where none else is left.
    """
    left = [at for at in range(len(scores)) if at not in cannot_win]
    if len(left) in (0, len(scores)):
        return choose(scores)
    return left[int(choose([scores[at] for at in left]))]


class ChoicePatch:
    """Replaces ``np`` of a module of tuners by one whose argmax and argmin pass over candidates.

    ``cannot_win`` says which, in the thread of ``fit()``. Installing twice is installing once;
    uninstalling puts back what was there, unless somebody else has put something there since.
    """

    def __init__(self, module: ModuleType, cannot_win: Callable[[], Collection[int]]) -> None:
        self._module: Any = module
        self._cannot_win = cannot_win
        self._installed: _Numpy | None = None

    def install(self) -> None:
        if self._installed is None and hasattr(self._module, "np"):
            self._installed = _Numpy(self._module.np, self._cannot_win)
            self._module.np = self._installed

    def uninstall(self) -> None:
        installed, self._installed = self._installed, None
        if installed is None:
            return
        installed.active = False
        if self._module.np is installed:
            self._module.np = installed.replaced


class _Numpy:
    """numpy, as a module of tuners sees it."""

    def __init__(self, replaced: Any, cannot_win: Callable[[], Collection[int]]) -> None:
        self.active = True
        self.replaced = replaced
        self._cannot_win = cannot_win

    def argmax(self, scores: Any, *args: Any, **kwargs: Any) -> Any:
        return self._choose(self.replaced.argmax, scores, args, kwargs)

    def argmin(self, scores: Any, *args: Any, **kwargs: Any) -> Any:
        return self._choose(self.replaced.argmin, scores, args, kwargs)

    def _choose(self, choose: Any, scores: Any, args: Any, kwargs: Any) -> Any:
        cannot_win = self._cannot_win() if self.active else ()
        if args or kwargs or not cannot_win:
            return choose(scores, *args, **kwargs)
        return choose_without(choose, scores, cannot_win)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.replaced, name)
