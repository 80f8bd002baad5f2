"""What a long run has to hold, and how its report says that it did not."""

Lines = list[str]
BROKEN = "- NOT HELD:"


def broken(what: str, held: bool, bound: str) -> Lines:  # noqa: FBT001 - reads as: what, held or not, which bound
    """A line for a bound that was not held, else none."""
    return [] if held else [f"{BROKEN} {what}: {bound} expected"]
