"""Room 3: which pixels are head."""
