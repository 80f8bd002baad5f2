"""Effects at work: each in a thread of its own, each ending in exactly one `Done` or `Failed`."""

import errno
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from edge_agent.core.agent import Done, Effect, Failed, FailureKind
from edge_agent.core.errors import EffectFailed

log = logging.getLogger(__name__)


class Drivers(Protocol):
    """The I/O of one agent."""

    def inventory(self) -> object:
        """What is on disk now. Slow; called once, before the first event."""
        ...

    def run(self, effect: Effect) -> object:
        """Do one effect, blocking; called from a thread of its own.

        Raises:
            EffectFailed: it did not work.
        """
        ...

    def close(self) -> None:
        """End what still runs (capture children, servers)."""
        ...


def start(effect: Effect, drivers: Drivers, put: Callable[[Done | Failed], None]) -> None:
    """Do an effect in the background; ``put`` gets its end, from another thread."""
    threading.Thread(target=_work, args=(effect, drivers, put), name=effect.key, daemon=True).start()


def _work(effect: Effect, drivers: Drivers, put: Callable[[Done | Failed], None]) -> None:
    try:
        ending: Done | Failed = Done(effect.key, drivers.run(effect))
    except EffectFailed as failure:
        ending = Failed(effect.key, failure.kind, failure.text, failure.detail)
    except OSError as error:
        ending = Failed(effect.key, os_error_kind(error), f"{type(error).__name__}: {error}"[:300])
    except Exception as error:  # whatever it was, the agent must hear that the effect ended
        log.exception("effect %s", effect.key)
        ending = Failed(effect.key, "bug", f"{type(error).__name__}: {error}"[:300])
    put(ending)


def os_error_kind(error: OSError) -> FailureKind:
    """The kind of trouble an error of the operating system is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "full"
    return "permanent" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else "transient"
