"""The figures anyone can run again: one benchmark a module, one JSON schema for all."""
