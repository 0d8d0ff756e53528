"""The only code that knows Faust: app, topics, tables, checkpoints and the continuity guard."""
