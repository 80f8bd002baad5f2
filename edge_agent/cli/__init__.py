"""The command line: one module per family of commands."""

from edge_agent.cli.main import app

__all__ = ["app"]
