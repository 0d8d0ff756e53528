"""The road of an intent to the venue: governor, journal, doubt and reconciliation."""
