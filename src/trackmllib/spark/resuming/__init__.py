"""Reuse of the scores of earlier searches (``autolog(resume=True)``)."""
