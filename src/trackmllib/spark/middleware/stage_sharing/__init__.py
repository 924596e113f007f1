"""Middleware ``reuse_stages``, which computes shared stages once per fold."""
