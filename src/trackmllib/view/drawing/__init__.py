"""Draws what ``figures/`` found. It needs matplotlib, so it is imported only when asked for."""
