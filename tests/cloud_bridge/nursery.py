"""Runs the real bridge in a process that may be killed at any time, and forks it anew.

`nursery.py PORT FOLDER`: every line on stdin asks for a new one; its process id is the answer. While
``FOLDER/down`` exists the store is away; while ``FOLDER/lossy`` exists, every third of its answers is lost.
"""

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

from cloud_bridge import bridge
from cloud_bridge.effects import BridgeEffects
from cloud_bridge.outbox import Outbox
from cloud_bridge.stores import SqliteStore, Store, StoreError
from edge_agent.core.settings import Settings
from edge_agent.runtime import log as logs
from edge_agent.runtime.bus import Endpoint
from edge_agent.runtime.clock import SystemClock
from edge_agent.runtime.host import Host, Place
from tests.cloud_bridge.faulty import Faulty
from tests.runtime.toys import DEV, PASSWORDS

FOLDER = Path(sys.argv[2])


def run() -> None:
    """The bridge, until it is killed."""
    settings = Settings()
    faulty = Faulty(SqliteStore(FOLDER / "store.sqlite", device=settings.device))
    calls = itertools.count(os.getpid())

    def before(_name: str, _values: tuple[Any, ...]) -> None:
        if (FOLDER / "down").exists():
            raise StoreError("transient", "no route to host")

    def after(_name: str, _values: tuple[Any, ...]) -> None:
        if (FOLDER / "lossy").exists() and next(calls) % 3 == 0:
            raise StoreError("transient", "the answer was lost")

    faulty.before, faulty.after = before, after
    where = Endpoint("127.0.0.1", int(sys.argv[1]), "bridge", PASSWORDS["bridge"])
    state = FOLDER / "state"
    effects = BridgeEffects(cast("Store", faulty), Outbox(state / "outbox.sqlite", "here"))
    host = Host(bridge.agent(settings), settings, Place(DEV, where, state, "test"), effects, SystemClock())
    signal.signal(signal.SIGTERM, lambda _number, _frame: host.stop())
    host.run()


def main() -> None:
    """Fork one after the other; this process stays single-threaded."""
    logs.set_up("bridge", "error")
    child = 0
    for _line in sys.stdin:
        if child:
            os.waitpid(child, 0)
        child = os.fork()
        if child == 0:
            run()
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
    if child:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
