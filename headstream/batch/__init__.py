"""Many inputs: found, shared out to workers on this machine or a cluster, written down, and taken up again."""
