"""`ezrec bench`: the README's figures, measured on this machine, beside the usual ways in the same run."""

from edge_agent.bench.run import run

__all__ = ["run"]
