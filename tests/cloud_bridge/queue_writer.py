"""A process that fills an outbox until it is killed; each number on stdout is durable."""

import sys
from pathlib import Path

from cloud_bridge.outbox import Outbox
from edge_agent.core.effects import ResultEntry
from schemas.recording import Recording

outbox = Outbox(Path(sys.argv[1]), "sqlite")
for number in range(100_000):
    (seq,) = outbox.enqueue([ResultEntry(f"b{number}", "recording", Recording(state="ready"))]).seqs
    sys.stdout.write(f"{seq}\n")
    sys.stdout.flush()
