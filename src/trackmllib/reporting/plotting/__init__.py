"""Drawings of the figures with matplotlib; imported late."""
