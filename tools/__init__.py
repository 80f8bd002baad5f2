"""For people who work on the project: nothing here is on a device."""
