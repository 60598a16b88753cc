"""Room 2: where the heads are."""
