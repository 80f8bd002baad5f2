"""The sender as people start it: the command line, the process, its end by signal."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from cloud_bridge.notify.run import Stores, sends_here
from cloud_bridge.stores import NewBooking, SqliteStore, sqlite_path
from cloud_bridge.stores.sqlite_device import DeviceRows
from cloud_bridge.stores.sqlite_messages import SqliteMessages
from edge_agent.cli.main import app
from edge_agent.core.effects import Notice, ResultRow
from edge_agent.core.settings import Bookings, Device, Notify, Settings, Storage
from edge_agent.runtime.clock import SystemClock
from edge_agent.runtime.settings import load
from schemas.base import utc_text
from schemas.recording import UploadedObject, UploadStage
from tests.cloud_bridge.notify.servers import Hook, Mailbox, hook_server, mail_server, text_of
from tests.cloud_bridge.served import KEY, minutes

REFUSED = "the mail server does not take mails for this address"
ROOT = Path(__file__).resolve().parents[3]
Ezrec = Callable[..., Result]


@pytest.fixture
def box() -> Generator[Mailbox]:
    with mail_server() as box:
        yield box


@pytest.fixture
def config(tmp_path: Path, box: Mailbox) -> Path:
    path = tmp_path / "ezrec.toml"
    path.write_text(f"""
[storage]
root = "{tmp_path / "data"}"
[smtp]
host = "127.0.0.1"
port = {box.port}
sender = "films@club.example"
tls = false
[api]
share_base_url = "https://films.example.org"
""")
    return path


@pytest.fixture
def ezrec(config: Path) -> Ezrec:
    def run(*words: str, **more: str) -> Result:
        return CliRunner().invoke(app, ["notify", *words, "--config", str(config)], env=more)

    return run


def test_recipients_from_the_command_line(ezrec: Ezrec) -> None:
    assert ezrec("list").stdout == "nobody is told yet\n"
    assert "nobody is told yet" in ezrec("test").stderr
    ezrec("add", " Otto@Club.example ", "--quiet", "22:00-07:00", "--kind", "alarm", "--language", "de")
    hook = ezrec("add", "https://hooks.example.org/T0/secret", "--device", "court-1")
    assert hook.exit_code == 0
    added = json.loads(ezrec("list", "--json", EZREC_NOTIFY__EMAILS='["olga@club.example"]').stdout)
    assert [(one["channel"], one["address"], one["kinds"], one["quiet"]) for one in added["recipients"]] == [
        ("email", "olga@club.example", [], None),
        ("email", "Otto@club.example", ["alarm"], "22:00-07:00"),
        ("webhook", "https://hooks.example.org/T0/secret", [], None),
    ]
    assert ezrec("remove", "otto@club.example").exit_code == 1
    assert ezrec("remove", "Otto@club.example").exit_code == 0
    assert len(ezrec("list").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("add", "otto"), "otto: expected an e-mail address"),
        (("add", "http://hooks.example.org/x"), "that webhook: expected https"),
        (("add", "otto@club.example", "--kind", "alarms"), "--kind alarms: expected one of film_ready"),
        (("add", "otto@club.example", "--language", "fr"), "--language fr: expected one of en, de, es"),
        (("add", "otto@club.example", "--quiet", "22-7"), "--quiet 22-7: expected local times"),
        (("test", "--to", "otto"), "otto: expected an e-mail address"),
        (("run", "--all"), "--all is for bookings.kind 'supabase'"),
    ],
)
def test_a_wrong_word_is_one_line(ezrec: Ezrec, words: tuple[str, ...], line: str) -> None:
    done = ezrec(*words)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert line in done.stderr


def test_a_test_message_says_what_happened(ezrec: Ezrec, box: Mailbox) -> None:
    box.rcpt = lambda address: "550 5.1.1 unknown" if address.startswith("olga") else None
    with hook_server(Hook()) as hook:
        done = ezrec(
            "test",
            EZREC_NOTIFY__EMAILS='["otto@club.example", "olga@club.example"]',
            EZREC_NOTIFY__WEBHOOKS=json.dumps([hook.url]),
            EZREC_NOTIFY__WEBHOOK_SECRET="0123456789abcdef",
        )
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "otto@club.example: sent",
        f"olga@club.example: not sent: {REFUSED} (550 5.1.1 unknown)",
        f"{hook.url}: sent",
    ]
    assert [mail["Subject"] for mail in box.mails] == ["court-1: test message"]
    assert json.loads(hook.posts[0].body)["type"] == "test"
    one = ezrec("test", "--to", "anna@example.org")
    assert (one.exit_code, one.stdout) == (0, "anna@example.org: sent\n")


def film(config: Path, booking_id: str, *contacts: str) -> None:
    """A film that is complete, with the device's word for it."""
    path, clock = sqlite_path(load(config, {})), SystemClock()
    store, rows = SqliteStore(path, clock), DeviceRows(path, clock, Device())
    now = clock.wall()
    store.create_booking(
        NewBooking(
            booking_id, "cut", now - minutes(60), now - minutes(1), contacts=contacts, title="Tie-break"
        )
    )
    one = UploadedObject(name="film", key=KEY, bytes=9, hash="h-1", verified_at=now)
    body = UploadStage(status="succeeded", objects=(one,)).body()
    rows.save_results((ResultRow(booking_id, "upload", 1, body),))
    notice = Notice(f"court-1:film:{booking_id}", "film_ready", booking_id, utc_text(now), {"kind": "cut"})
    rows.add_notices((notice,))
    store.close()
    rows.close()


def start(config: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "notify", "run", "--config", str(config)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until_said(process: "subprocess.Popen[str]", text: str) -> list[dict[str, Any]]:
    """Its log up to the line with a text."""
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    for line in process.stderr:
        lines.append(json.loads(line))
        if text in lines[-1]["text"]:
            return lines
    pytest.fail(f"it ended without having said {text!r}: {lines}")


def test_a_process_sends_what_comes_and_ends_when_told(config: Path, box: Mailbox, ezrec: Ezrec) -> None:
    film(config, "b1", "anna@example.org")
    with start(config) as process:
        said = until_said(process, "is out")
        film(config, "b2", "ben@example.org", "eve@example.org")
        said += until_said(process, "is out") + until_said(process, "is out")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None
        rest = process.stderr.read()
    assert box.recipients[0] == "anna@example.org"
    assert sorted(box.recipients[1:]) == ["ben@example.org", "eve@example.org"]
    assert "Your film is ready: Tie-break" in {mail["Subject"] for mail in box.mails}
    assert all("https://films.example.org/s/" in text_of(mail) for mail in box.mails)
    log = json.dumps(said) + rest
    assert not [word for word in ("anna", "ben@", "eve@", "Tie-break", "/s/") if word in log]
    shown = ezrec("log").stdout
    assert sorted(line.partition(" ")[2] for line in shown.splitlines()) == [
        "film_ready b1 to anna@example.org: sent",
        "film_ready b2 to ben@example.org: sent",
        "film_ready b2 to eve@example.org: sent",
    ]


def test_killed_while_the_server_thinks_it_over(config: Path, box: Mailbox) -> None:
    """The mail was not accepted: it goes once, by the next one, when the lease of the killed is over."""
    arrived = threading.Event()

    def think(_mail: bytes) -> str:
        arrived.set()
        return "hang"

    box.data = think
    film(config, "b1", "anna@example.org")
    with start(config) as process:
        assert arrived.wait(60)
        process.kill()
        process.wait(30)
    messages = SqliteMessages(sqlite_path(load(config, {})), "court-1", "club")
    assert messages.claim("other", 1, 9) == ()
    assert [(one.state, one.attempt) for one in messages.told("court-1", "b1", "")] == [("waiting", 1)]
    messages.close()
    assert box.mails == []


def test_a_server_that_hangs_does_not_keep_it_from_ending(config: Path, box: Mailbox) -> None:
    arrived = threading.Event()

    def think(_mail: bytes) -> str:
        arrived.set()
        return "hang"

    box.data = think
    film(config, "b1", "anna@example.org")
    with start(config) as process:
        assert arrived.wait(60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def test_who_sends() -> None:
    cloud = Bookings(kind="supabase", url="https://project.example", key=SecretStr("k"))
    assert sends_here(Settings())
    assert not sends_here(Settings(bookings=cloud))
    assert sends_here(Settings(bookings=cloud, notify=Notify(send=True)))


def test_a_devices_rows_are_opened_once(tmp_path: Path) -> None:
    stores = Stores(Settings(storage=Storage(root=str(tmp_path))))
    assert stores.of("court-1") is stores.of("court-1")
    stores.close()
