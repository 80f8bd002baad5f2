"""Logs are one JSON object a line."""

import io
import json
import logging

from edge_agent.runtime.log import JsonLines


def test_every_line_is_one_object() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines("merger"))
    logger = logging.getLogger("tests.runtime.log")
    logger.addHandler(handler)
    logger.propagate = False
    logger.warning("two\nlines %s", "ü", extra={"data": {"frames": 3, "path": object}})
    try:
        int("bad")
    except ValueError:
        logger.exception("went wrong")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["level"], first["agent"], first["text"]) == ("warning", "merger", "two\nlines ü")
    assert first["data"]["frames"] == 3
    assert first["ts"].endswith("+00:00")
    assert "ValueError: invalid literal" in second["trace"]
