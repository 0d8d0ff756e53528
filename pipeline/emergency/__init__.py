"""The only place for what must work when nothing else does: no Kafka, no Faust, no event loop, no running pipeline."""
