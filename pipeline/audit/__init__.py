"""Reading the log again: sources, replay, comparison and the digest of the fold."""
