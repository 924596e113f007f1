"""Reader of past searches on a tracking server."""
