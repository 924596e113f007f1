"""Opt-ins that change how Spark computes a search."""
