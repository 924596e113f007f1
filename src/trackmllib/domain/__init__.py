"""Events, operations and the state of a search."""
