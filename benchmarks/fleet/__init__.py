"""A fleet of drivers on one server: ``python -m benchmarks.fleet``."""
