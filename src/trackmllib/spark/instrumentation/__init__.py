"""Patches of pyspark, and the trackers that turn calls into events."""
