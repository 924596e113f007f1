"""What people see of a search: progress, tables, figures and the report. No I/O with a server."""
