"""`mk replicate`."""
