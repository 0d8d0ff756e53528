"""Chaos: processes killed, joined and frozen by a seed under a market that never rests; one checker judges the rest."""
