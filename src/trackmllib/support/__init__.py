"""Helpers that are independent of searches."""
