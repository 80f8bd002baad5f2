"""Putting EZREC on a machine that runs systemd: users, folders, broker, units. May be repeated."""
