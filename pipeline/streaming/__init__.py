"""The only code that knows Faust: apps, topics, tables, checkpoints, the guard and the loop around a fold."""
