"""Exclusion of candidates from Spark's choice of the best one.

The tuners' ``_fit`` finds the best score with ``np.argmax`` or ``np.argmin``. Even the worst
possible score does not guarantee that a failed candidate loses: another candidate may have the same
score, and numpy picks the first of equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any


class ChoicePatch:
    """Patch of ``np`` in a tuner module: argmax and argmin ignore candidates.

    Installing is idempotent. Uninstalling restores ``np``, unless other code has replaced it since.

    :param cannot_win: Returns the candidates to ignore; called in the thread of ``fit()``.
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
        left = [at for at in range(len(scores)) if at not in cannot_win]
        if len(left) in (0, len(scores)):
            return choose(scores)
        return left[int(choose([scores[at] for at in left]))]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.replaced, name)
