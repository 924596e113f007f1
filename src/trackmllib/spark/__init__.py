"""The only code that imports pyspark: where ``fit()`` is watched, and what is read off a tuner."""
