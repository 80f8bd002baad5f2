"""A toy agent as a process: `toy_process.py PORT STATE [NAME]`."""

import signal
import sys
from pathlib import Path

from edge_agent.runtime import log as logs
from edge_agent.runtime.bus import Endpoint
from edge_agent.runtime.clock import SystemClock
from edge_agent.runtime.host import AlreadyRunning, Host, Place
from tests.runtime.toys import DEV, PASSWORDS, NoDrivers, toy


def main() -> int:
    port, state = int(sys.argv[1]), Path(sys.argv[2])
    name = sys.argv[3] if len(sys.argv) > 3 else "merger"
    logs.set_up(name, "warning")
    where = Endpoint("127.0.0.1", port, name, PASSWORDS[name])
    try:
        host = Host(toy(name), None, Place(DEV, where, state, "test"), NoDrivers(), SystemClock())
    except AlreadyRunning as error:
        sys.stderr.write(f"{error}\n")
        return 78
    signal.signal(signal.SIGTERM, lambda _number, _frame: host.stop())
    try:
        host.run()
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 70
    return 0


if __name__ == "__main__":
    sys.exit(main())
