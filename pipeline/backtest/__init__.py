"""Decisions on yesterday's market: the real roles against the simulator's pure exchange, in virtual time."""
