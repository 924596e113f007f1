"""Readers of tuners, params, datasets, scores and conf as plain data."""
