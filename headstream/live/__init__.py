"""Cutting what happens now, into outputs that cannot hold it up."""
