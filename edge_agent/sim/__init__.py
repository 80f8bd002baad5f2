"""The simulator: the whole device, as its agents are, in a faulty world of virtual time.

No thread, no sleep, no I/O; everything follows from the seed. A promise of DESIGN that is broken ends the
run with the seed, the virtual time, the promise in one sentence, and the last steps before.
"""

from edge_agent.sim.command import command
from edge_agent.sim.device import Plant
from edge_agent.sim.run import Report, run

__all__ = ["Plant", "Report", "command", "run"]
