"""Data of the figures; ``plotting`` draws them."""
