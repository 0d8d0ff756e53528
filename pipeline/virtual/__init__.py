"""The only package that runs the real parts in one process and in virtual time: processes, log, venue, workers."""
