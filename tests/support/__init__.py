"""Helpers of the tests: searches, stores, servers, processes."""
