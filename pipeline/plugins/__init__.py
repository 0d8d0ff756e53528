"""The only place for what runs the owner's plug-ins: beside the pipeline, each in its own process (docs/plugins.md)."""
