"""Recording without a call of ``autolog()``."""
