"""Room 4: how good the edge is."""
