"""Corrections made by hand in single frames, and how they spread to the frames around them."""
