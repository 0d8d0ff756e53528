"""The only place for the bodies of the command line, one module a command."""
