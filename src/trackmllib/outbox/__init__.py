"""The queue between Spark's threads and the tracking server."""
