"""Room 1: where frames come from."""
