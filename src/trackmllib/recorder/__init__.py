"""Translation of events into operations on MLflow runs; no I/O."""
