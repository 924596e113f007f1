"""Options of ``autolog()``, and the resulting settings."""
