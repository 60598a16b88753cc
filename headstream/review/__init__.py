"""What the tool doubts of its own work, as a page for whoever has to look at it."""
