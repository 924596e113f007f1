"""Costs and labels of Spark's jobs."""
