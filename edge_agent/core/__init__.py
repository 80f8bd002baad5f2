"""Pure code: what the agents decide with. No I/O, no clock, no logging."""
