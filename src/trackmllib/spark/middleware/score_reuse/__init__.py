"""Middleware ``resume``, which reuses scores of earlier searches."""
