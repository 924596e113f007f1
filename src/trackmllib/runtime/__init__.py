"""The session of a process, and its parts."""
