"""Facts about a search become operations: what MLflow is told, under which names. No I/O."""
