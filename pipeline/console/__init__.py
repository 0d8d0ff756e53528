"""What a person's programs share: reading the log without joining a group, and asking the account."""
