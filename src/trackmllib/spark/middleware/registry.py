"""List of all middleware."""

from __future__ import annotations

from collections.abc import Callable

from trackmllib.config.settings import Settings
from trackmllib.spark.middleware.base import Middleware, MiddlewareContext, MiddlewareStack
from trackmllib.spark.middleware.nested_fits.middleware import nested_fits
from trackmllib.spark.middleware.on_error import on_error
from trackmllib.spark.middleware.parallel_folds import parallel_folds
from trackmllib.spark.middleware.score_reuse.middleware import score_reuse
from trackmllib.spark.middleware.stage_sharing.middleware import reuse_stages
from trackmllib.spark.middleware.timeout import candidate_timeout

Factory = Callable[[Settings, MiddlewareContext], Middleware | None]

# From the outermost to the innermost around a fold; FoldCall.run_fit and prepare nest the other way
# round, so that each retry of on_error has a timeout of its own and acquires its nested fits again.
_FACTORIES: tuple[Factory, ...] = (
    parallel_folds,
    score_reuse,
    nested_fits,
    candidate_timeout,
    on_error,
    reuse_stages,
)


def enabled_middleware(settings: Settings, search: MiddlewareContext) -> MiddlewareStack | None:
    """Create the middleware that the settings enable; None if none."""
    created = [factory(settings, search) for factory in _FACTORIES]
    enabled = [middleware for middleware in created if middleware is not None]
    return MiddlewareStack(enabled) if enabled else None
