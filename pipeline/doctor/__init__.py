"""The only place for what is looked at before money is: the checks and venue probes of ``perpguard doctor``."""
