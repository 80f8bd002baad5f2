"""``python -m edge_agent`` and ``ezrec``: the command line."""


def main() -> None:
    """Run the command line."""
    from edge_agent.cli import app

    app(prog_name="ezrec")


if __name__ == "__main__":
    main()
