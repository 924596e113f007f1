"""A fleet of drivers at one server: ``python -m benchmarks.fleet``."""
