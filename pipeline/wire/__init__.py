"""Pure wire formats: topics, lines and records, and nothing that sends them."""
