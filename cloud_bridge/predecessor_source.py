"""Where the predecessor's booking rows come from: its file, or its project's table."""

import json
from pathlib import Path
from typing import cast

from cloud_bridge.predecessor import NotUnderstood

MAX_BYTES = 64 * 1024 * 1024
PAGE = 1000
TIMEOUT_S = 30.0


def read_file(path: Path) -> object:
    """The document in a file. Reads it whole.

    Raises:
        NotUnderstood: it cannot be read, is larger than 64 MB, or is no JSON.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotUnderstood(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise NotUnderstood(f"{path}: larger than {MAX_BYTES // 2**20} MB, that is no file of bookings")
    return _json(data, str(path))


def read_project(url: str, key: str) -> object:
    """The rows of a project's table ``bookings``, page by page, with a key that sees them all.

    Raises:
        NotUnderstood: the project does not answer with rows.
    """
    import httpx  # noqa: PLC0415 - it comes with supabase-py, and only this needs it

    rows: list[object] = []
    headers = {"apikey": key, "Authorization": f"Bearer {key}", "Accept": "application/json"}
    address = f"{url.rstrip('/')}/rest/v1/bookings"
    try:
        with httpx.Client(headers=headers, timeout=TIMEOUT_S) as client:
            while True:
                asked = {"select": "*", "order": "id", "limit": str(PAGE), "offset": str(len(rows))}
                answer = client.get(address, params=asked)
                if not answer.is_success:
                    text = f"{url}: the project answered {answer.status_code} to the table bookings"
                    raise NotUnderstood(text)
                page = _json(answer.content, url)
                if not isinstance(page, list):
                    raise NotUnderstood(f"{url}: no rows in its answer")
                more = cast("list[object]", page)
                rows += more
                if len(more) < PAGE:
                    return rows
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise NotUnderstood(f"{url}: the project does not answer ({type(error).__name__})") from None


def _json(data: bytes, where: str) -> object:
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        raise NotUnderstood(f"{where}: no JSON in it") from None
    return found
