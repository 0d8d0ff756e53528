"""The Faust agents, one screen each, without opinions."""
