"""How a driver says that an effect failed."""

from edge_agent.core.agent import FailureKind


class EffectFailed(Exception):
    """An effect ended badly. The host turns it into a `Failed` event.

    Attributes:
        kind: what kind of trouble, see `FailureKind`.
        text: one line for the operator.
        detail: what the agent needs to try otherwise.
    """

    def __init__(self, kind: FailureKind, text: str, detail: object = None) -> None:
        super().__init__(text)
        self.kind: FailureKind = kind
        self.text = text
        self.detail = detail
