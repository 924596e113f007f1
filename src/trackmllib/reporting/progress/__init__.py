"""Progress of running searches, on standard error."""
