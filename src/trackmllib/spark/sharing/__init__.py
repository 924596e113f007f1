"""Stages of a Pipeline that several candidates have in common, computed once a fold."""
