"""The connector: routed sockets of the venue in, untouched frames into the log."""
