"""Public functions, which ``trackmllib`` exports."""
