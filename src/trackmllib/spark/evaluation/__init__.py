"""Further metrics of a fit, besides the tuner's own."""
