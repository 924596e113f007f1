"""Durable queue between Spark's threads and the server, and its relay."""
