"""Room 5: where cut-outs go."""
