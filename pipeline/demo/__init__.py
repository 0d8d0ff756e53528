"""The demo: everything on this machine, positions opened and guarded, a worker killed twice, all of it verified."""
