"""Logs as JSON lines on stderr: one object per line, for journald, Node-RED and grep alike."""

import json
import logging
import sys
from datetime import UTC, datetime

CHATTY = (
    "urllib3",
    "botocore",
    "boto3",
    "asyncio",
    "s3transfer",
    "httpx",
    "httpcore",
    "websockets",
)


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object; fields given with ``extra={"data": {...}}`` are kept."""

    def __init__(self, agent: str) -> None:
        super().__init__()
        self._agent = agent

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "agent": self._agent,
            "text": record.getMessage(),
        }
        data = getattr(record, "data", None)
        if data:
            line["data"] = data
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(agent: str, level: str) -> None:
    """Send all logging of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(agent))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Says every try that failed, and some with the address, in which there is a key; `hints` says it once.
    logging.getLogger("realtime").setLevel(logging.CRITICAL)
