"""Spark's choice of the best candidate, without those that cannot win.

``_fit`` of the tuners calls ``np.argmax`` or ``np.argmin`` of its module for the index of the best
score. No score is bad enough to make sure that a failed candidate loses: another candidate may
have the worst possible score, and numpy picks the first of equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import Any

Choose = Callable[[Sequence[Any]], Any]


def choose_without(choose: Choose, scores: Sequence[Any], cannot_win: Collection[int]) -> Any:
    """Index that ``choose`` picks of the scores outside ``cannot_win``.

    ``choose`` is numpy's argmax or argmin. It picks of all scores if no other is left.
    """
    left = [at for at in range(len(scores)) if at not in cannot_win]
    if len(left) in (0, len(scores)):
        return choose(scores)
    return left[int(choose([scores[at] for at in left]))]


class ChoicePatch:
    """Patch of ``np`` in a tuner module: its choice ignores candidates.

    In the thread of ``fit()``, ``cannot_win`` returns the candidates that argmax and argmin ignore.
    Installing twice has the effect of installing once. Uninstalling restores the original, unless
    other code has replaced ``np`` since.
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
    """Proxy of numpy for a tuner module."""

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
