"""A club with a store, a clock set by hand, a real mail server, a real webhook, and the sender under test."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from cloud_bridge.notify.post import Transports
from cloud_bridge.notify.sender import Sender
from cloud_bridge.notify.smtp import Mailer
from cloud_bridge.notify.webhook import Poster
from cloud_bridge.stores import NewBooking, SqliteStore, Store
from cloud_bridge.stores.device import DeviceStore
from cloud_bridge.stores.messages import MessageStore, Told
from cloud_bridge.stores.sqlite_device import DeviceRows
from cloud_bridge.stores.sqlite_messages import SqliteMessages
from edge_agent.core.effects import Notice, ResultRow
from edge_agent.core.settings import Api, Device, Notify, Settings, Smtp
from schemas.base import utc_text
from schemas.recording import UploadedObject, UploadStage
from tests.cloud_bridge.notify.servers import Hook, Mailbox, hook_server, mail_server
from tests.cloud_bridge.served import KEY, NOON, HandClock, minutes

DEVICE = Device(id="court-1", org="club", timezone="Europe/Berlin")
SECRET = "0123456789abcdef"


class Closed(Protocol):
    def close(self) -> None: ...


S = TypeVar("S", bound=Closed)


@dataclass
class Club:
    """Use as a context manager. `run` makes rounds until nothing is due any more."""

    folder: Path
    clock: HandClock = field(default_factory=HandClock)
    box: Mailbox = field(default_factory=Mailbox)
    hook: Hook = field(default_factory=Hook)
    seq: int = 0

    def __enter__(self) -> Self:
        self._open = ExitStack()
        self._open.enter_context(mail_server(self.box))
        self._open.enter_context(hook_server(self.hook))
        self.store, self.messages, self.rows = self.of(DEVICE.id), self.post(), self.device()
        self.settings = self.settled()
        self.sender = self.new_sender()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def settled(self, **notify: Any) -> Settings:
        """The club's settings, with other keys of ``[notify]``."""
        keys = {"webhook_secret": SECRET, **notify}
        return Settings(
            device=DEVICE,
            api=Api(share_base_url="https://films.example.org"),
            smtp=Smtp(host="127.0.0.1", port=self.box.port, sender="Court 1 <films@club.example>", tls=False),
            notify=Notify.model_validate(keys),
        )

    def tell(self, **notify: Any) -> None:
        """Other settings, and a sender that has read them."""
        self.settings = self.settled(**notify)
        self.sender = self.new_sender()

    def new_sender(self) -> Sender:
        """Another sender over the same store."""
        messages = self.post()
        transports = Transports(Mailer(self.settings.smtp), Poster(whole_s=60))
        sender = Sender(self.settings, self.of, messages, transports, self.clock, watch_every_s=0)
        self._open.callback(sender.close)
        return sender

    # --- the store, as each has it ---

    def of(self, device: str) -> Store:
        """The rows of a device."""
        return self._kept(SqliteStore(self.path, self.clock))

    def post(self) -> MessageStore:
        """What the sender has."""
        return self._kept(SqliteMessages(self.path, DEVICE.id, DEVICE.org, self.clock))

    def device(self, name: str = DEVICE.id) -> DeviceStore:
        """What a device's bridge has."""
        return self._kept(DeviceRows(self.path, self.clock, DEVICE))

    @property
    def path(self) -> Path:
        return self.folder / "store.sqlite"

    def _kept(self, store: S) -> S:
        self._open.callback(store.close)
        return store

    def run(self, sender: Sender | None = None) -> None:
        """Rounds until everything that is due now was tried."""
        working = sender or self.sender
        for _ in range(4):
            working.step()
            assert working.settle(30)

    def later(self, number: float) -> None:
        """Some minutes pass."""
        self.clock.now += minutes(number)

    # --- what the device says ---

    def book(self, booking_id: str = "b1", **more: Any) -> None:
        start, end = more.pop("start", NOON - minutes(60)), more.pop("end", NOON)
        kind = more.pop("kind", "booked")
        self.store.create_booking(NewBooking(booking_id, kind, start, end, **more))

    def film(self, booking_id: str = "b1", kind: str = "film_ready", **data: Any) -> None:
        """The film is complete in the bucket, and the device says so."""
        stage = UploadStage(
            status="succeeded",
            objects=(UploadedObject(name="film", key=KEY, bytes=9, hash="h-1", verified_at=self.clock.now),),
        )
        self.result(booking_id, "upload", stage.body())
        self.notice(f"film:{booking_id}", kind, booking_id, kind="booked", **data)

    def result(self, booking_id: str, kind: str, body: Any) -> None:
        self.seq += 1
        self.rows.save_results((ResultRow(booking_id, kind, self.seq, body),))

    def heard(self) -> None:
        """The device's heartbeat."""
        self.result(DEVICE.id, "health", {"broker": "up", "n": self.seq})

    def notice(self, name: str, what: str, subject: str, /, **data: Any) -> None:
        self.rows.add_notices((Notice(f"court-1:{name}", what, subject, utc_text(self.clock.now), data),))

    def alarm(self, name: str = "camera_left/stalled", severity: str = "major") -> dict[str, Any]:
        """An alarm begins; what `over` needs."""
        since = utc_text(self.clock.now)
        data = {"severity": severity, "text": "No pictures", "mend": "Look at the cable.", "since": since}
        self.notice(f"alarm:{name}:{since}", "alarm", name, **data)
        return {"name": name, **data}

    def over(self, begun: dict[str, Any]) -> None:
        """It is over."""
        data = {**begun, "over_at": utc_text(self.clock.now)}
        name = data.pop("name")
        self.notice(f"recovered:{name}:{data['since']}", "recovered", name, **data)

    # --- what came of it ---

    def told(self) -> tuple[Told, ...]:
        return self.messages.told(DEVICE.id, None, utc_text(NOON - minutes(1e6)))

    def subjects(self) -> list[str]:
        """Subjects of the mails, in the order they came."""
        return [mail["Subject"] for mail in self.box.mails]
