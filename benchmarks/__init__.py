"""What tracking costs: ``python -m benchmarks``, one file for each question."""
