import signal
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path

from cloud_bridge.stores import NewBooking, SqliteStore
from edge_agent.demo.servers import free_port
from tests.cloud_bridge.served import NOON, Answer, fetch, minutes

ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import sys
from pathlib import Path
from cloud_bridge.api.serve import serve
from cloud_bridge.stores import SqliteStore
from edge_agent.core.settings import Api, Settings, Storage
from edge_agent.runtime import log
log.set_up("api", "debug")
root, port = sys.argv[1], int(sys.argv[2])
serve(Settings(api=Api(port=port), storage=Storage(root=root)), SqliteStore(Path(root) / "store.sqlite"))
"""


def once_up(url: str, child: "subprocess.Popen[str]") -> Answer:
    """The first answer; a server has no other way to say that it is there."""
    for _ in range(600):
        assert child.poll() is None
        try:
            return fetch(url)
        except OSError:
            threading.Event().wait(0.05)
    raise AssertionError("the server does not come up")


def test_the_process_serves_keeps_links_to_itself_and_ends_when_asked(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    store.create_booking(NewBooking("match", "booked", NOON, NOON + minutes(60)))
    key = store.make_token("user", "uma")
    _, token = store.issue_link("match", NOON + minutes(60 * 24 * 36_500))
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path), str(port)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as child:
        assert once_up(f"{base}/healthz", child).status == 200
        assert fetch(f"{base}/s/{token}").status == 200
        assert fetch(f"{base}/s/{token}/video").status == 409
        listening = HTTPConnection("127.0.0.1", port, timeout=30)
        listening.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {key}"})
        stream = listening.getresponse()
        assert stream.readline() == b"retry: 3000\n"
        child.send_signal(signal.SIGTERM)
        assert b"event" not in stream.read().replace(b"event: ready", b""), (
            "the stream ends, and says no more"
        )
        listening.close()
        _, errors = child.communicate(timeout=30)
        assert child.returncode == 0, errors
    assert token not in errors
    assert key not in errors
    assert "Traceback" not in errors
    store.close()
