"""Middleware ``nested_fits``: derives models from larger ones."""
