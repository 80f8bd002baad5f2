"""Why a message did not go."""


class NotSent(Exception):
    """It did not go.

    Attributes:
        text: why, in one line, without anybody's address: it may be logged.
        detail: what the other side said; it may name somebody, and stays in the message's row.
    """

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.detail = detail

    @property
    def why(self) -> str:
        """Everything known, for the row."""
        return f"{self.text} ({self.detail})" if self.detail else self.text


class Refused(NotSent):
    """It never will: trying again would be the same."""


class Delayed(NotSent):
    """Try again later.

    ``everybody``: it is not about this recipient, the whole way is blocked (a server is away, a login wrong).
    """

    def __init__(self, text: str, detail: str = "", *, everybody: bool = False) -> None:
        super().__init__(text, detail)
        self.everybody = everybody
