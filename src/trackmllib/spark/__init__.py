"""All code that imports pyspark."""
