"""The settings as typed, frozen values. `edge_agent.runtime.settings` reads them from file and environment.

Every key is marked local (the default) or remote: only remote ones may be set from afar, never
endpoints, URLs, paths, keys, users or update sources.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from edge_agent.core.addresses import bad_address, bad_quiet, bad_url, is_loopback, plain_address
from schemas.base import Id
from schemas.booking import Layout, Place, Sha256
from schemas.work import CameraName


@dataclass(frozen=True)
class Scope:
    """Whether a key may be set from afar."""

    remote: bool


Language = Literal["en", "de", "es"]
NoticeKind = Literal[
    "film_ready", "film_partial", "film_missed", "alarm", "recovered", "preflight_failed", "silent", "back"
]
SECRET_LENGTH = 16

REMOTE = Scope(remote=True)
LOCAL = Scope(remote=False)


class Section(BaseModel):
    """A section of the settings: frozen, and a key nobody knows is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Device(Section):
    """Which box this is. ``timezone`` is for names and pages only; all times are UTC inside."""

    id: Annotated[Id, LOCAL] = "court-1"
    org: Annotated[Id, LOCAL] = "club"
    timezone: Annotated[str, REMOTE] = "UTC"


class Camera(Section):
    """One camera. ``serial`` is matched as a substring of the libcamera id; left and right are chosen."""

    name: Annotated[CameraName, LOCAL]
    backend: Annotated[Literal["picamera2", "stream", "simulated"], LOCAL] = "simulated"
    serial: Annotated[str | None, LOCAL] = None
    url: Annotated[str | None, LOCAL] = None
    width: Annotated[int, REMOTE] = Field(default=1280, ge=64, le=4096, multiple_of=2)
    height: Annotated[int, REMOTE] = Field(default=720, ge=64, le=4096, multiple_of=2)
    fps: Annotated[int, REMOTE] = Field(default=30, ge=1, le=60)
    bitrate: Annotated[int, REMOTE] = Field(default=4_000_000, ge=100_000, le=50_000_000)
    rotation: Annotated[Literal[0, 90, 180, 270], LOCAL] = 0
    latency_ms: Annotated[int, LOCAL] = Field(default=0, ge=0, le=10_000)
    audio: Annotated[bool, LOCAL] = False
    idle: Annotated[Literal["ring", "arm"], REMOTE] = "ring"
    scenario: Annotated[dict[str, Any], LOCAL] = {}

    @model_validator(mode="after")
    def _url_where_needed(self) -> Self:
        if self.backend == "stream" and not self.url:
            raise ValueError("a camera with backend 'stream' needs a url")
        return self


class Mqtt(Section):
    """The local broker. ``username`` is the account's own name by default.

    Its password is in ``passwords``/{account} (a folder), or in ``password``.
    """

    host: Annotated[str, LOCAL] = "127.0.0.1"
    port: Annotated[int, LOCAL] = Field(default=1883, ge=1, le=65535)
    socket: Annotated[str | None, LOCAL] = None
    username: Annotated[str | None, LOCAL] = None
    password: Annotated[SecretStr | None, LOCAL] = None
    passwords: Annotated[str | None, LOCAL] = None
    tls: Annotated[bool, LOCAL] = False


class Film(Section):
    """The film. ``max_bitrate`` caps it; ``quality`` is x264's CRF."""

    layout: Annotated[Layout, REMOTE] = "side_by_side"
    width: Annotated[int | None, REMOTE] = Field(default=None, ge=64, le=8192, multiple_of=2)
    height: Annotated[int | None, REMOTE] = Field(default=None, ge=64, le=4096, multiple_of=2)
    fps: Annotated[int | None, REMOTE] = Field(default=None, ge=1, le=60)
    segment_s: Annotated[int, LOCAL] = Field(default=2, ge=1, le=10)
    slot_s: Annotated[int, LOCAL] = Field(default=4, ge=1, le=20)
    max_bitrate: Annotated[int, REMOTE] = Field(default=6_000_000, ge=100_000, le=50_000_000)
    encoder: Annotated[Literal["libx264"], LOCAL] = "libx264"
    preset: Annotated[Literal["ultrafast", "superfast", "veryfast", "faster", "fast"], REMOTE] = "ultrafast"
    quality: Annotated[int, REMOTE] = Field(default=23, ge=10, le=40)


class Booking(Section):
    """How bookings are recorded: pre- and post-roll in seconds, and whether by default at all."""

    pre_s: Annotated[int, REMOTE] = Field(default=0, ge=0, le=600)
    post_s: Annotated[int, REMOTE] = Field(default=0, ge=0, le=600)
    record: Annotated[Literal["yes", "no"], REMOTE] = "yes"
    max_minutes: Annotated[int, REMOTE] = Field(default=240, ge=1, le=720)


class Storage(Section):
    """Where media, state and ring are, and how many bytes they may take."""

    root: Annotated[str, LOCAL] = "/var/lib/ezrec"
    ring: Annotated[str, LOCAL] = "/run/ezrec/ring"
    ring_s: Annotated[int, REMOTE] = Field(default=90, ge=10, le=600)
    budget: Annotated[int | None, REMOTE] = Field(default=None, ge=100_000_000)


class Store(Section):
    """The bucket: S3 (or R2), or a folder."""

    kind: Annotated[Literal["s3", "dir"], LOCAL] = "dir"
    endpoint: Annotated[str | None, LOCAL] = None
    region: Annotated[str, LOCAL] = "us-east-1"
    bucket: Annotated[str, LOCAL] = "ezrec"
    folder: Annotated[str | None, LOCAL] = None
    key: Annotated[SecretStr | None, LOCAL] = None
    secret: Annotated[SecretStr | None, LOCAL] = None
    bandwidth: Annotated[int | None, REMOTE] = Field(default=None, ge=10_000)


class Bookings(Section):
    """Where bookings come from. ``public_key``: what a project's gateway wants beside a device key."""

    kind: Annotated[Literal["sqlite", "supabase"], LOCAL] = "sqlite"
    url: Annotated[str | None, LOCAL] = None
    key: Annotated[SecretStr | None, LOCAL] = None
    public_key: Annotated[str | None, LOCAL] = None
    realtime: Annotated[bool, LOCAL] = True
    poll_s: Annotated[float, LOCAL] = Field(default=5.0, ge=1, le=300)


class Retention(Section):
    """How long things are kept. There is no "for ever"."""

    film_local_h: Annotated[int, REMOTE] = Field(default=24, ge=0, le=24 * 30)
    film_bucket_days: Annotated[int, REMOTE] = Field(default=14, ge=1, le=365)
    receipt_days: Annotated[int, REMOTE] = Field(default=90, ge=1, le=365)
    topics_days: Annotated[int, REMOTE] = Field(default=7, ge=1, le=90)
    cancelled_min: Annotated[int, LOCAL] = Field(default=10, ge=1, le=1440)
    journal_days: Annotated[int, LOCAL] = Field(default=7, ge=1, le=90)
    log_days: Annotated[int, LOCAL] = Field(default=14, ge=1, le=365)


class Api(Section):
    """The HTTP side.

    Attributes:
        share_base_url: the prefix of every link.
        trusted_proxies: addresses whose word on who asks, and by which scheme, is taken.
        session_idle_h: hours without use after which people log in again.
        session_days: days after which they do in any case.
        login_tries: of a name, and from an address, in 15 minutes.
        requests_per_min: of one user or key.
        open_requests_per_min: from one address that is not this machine's, where no login is needed.
        link_requests_per_day: for the film behind one link.
    """

    host: Annotated[str, LOCAL] = "127.0.0.1"
    port: Annotated[int, LOCAL] = Field(default=8080, ge=1, le=65535)
    share_base_url: Annotated[str | None, LOCAL] = None
    share_days: Annotated[int, REMOTE] = Field(default=7, ge=1, le=365)
    trusted_proxies: Annotated[tuple[str, ...], LOCAL] = ()
    session_idle_h: Annotated[int, REMOTE] = Field(default=72, ge=1, le=8760)
    session_days: Annotated[int, REMOTE] = Field(default=30, ge=1, le=365)
    login_tries: Annotated[int, REMOTE] = Field(default=10, ge=3, le=1000)
    requests_per_min: Annotated[int, REMOTE] = Field(default=1200, ge=10, le=1_000_000)
    open_requests_per_min: Annotated[int, REMOTE] = Field(default=600, ge=10, le=1_000_000)
    link_requests_per_day: Annotated[int, REMOTE] = Field(default=2000, ge=10, le=1_000_000)


class BrandingLogo(Section):
    """A logo of the device: a local file, named by its hash in messages."""

    slot: Annotated[Id, LOCAL]
    file: Annotated[str, LOCAL]
    sha256: Annotated[Sha256 | None, LOCAL] = None
    place: Annotated[Place, REMOTE] = "bottom_right"
    size: Annotated[float, REMOTE] = Field(default=16.0, gt=0, le=100)
    opacity: Annotated[float, REMOTE] = Field(default=1.0, ge=0, le=1)


class Branding(Section):
    """Logos and intro of the device, for bookings that name none of their own."""

    logos: Annotated[tuple[BrandingLogo, ...], LOCAL] = ()
    intro: Annotated[str | None, LOCAL] = None


class Smtp(Section):
    """Mail server for messages to players and operators.

    Encrypted by STARTTLS, at port 465 from the start; without ``tls`` it must be this machine itself.
    """

    host: Annotated[str | None, LOCAL] = None
    port: Annotated[int, LOCAL] = Field(default=587, ge=1, le=65535)
    username: Annotated[str | None, LOCAL] = None
    password: Annotated[SecretStr | None, LOCAL] = None
    sender: Annotated[str | None, LOCAL] = None
    tls: Annotated[bool, LOCAL] = True

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.host is None:
            return self
        if not self.sender:
            raise ValueError("smtp.host needs smtp.sender, the address that mails come from")
        if bad_address(self.sender):
            raise ValueError(f"smtp.sender: {bad_address(self.sender)}")
        if not self.tls and not is_loopback(self.host):
            raise ValueError("tls = false is for a mail server on this machine only")
        return self


class Notify(Section):
    """Who is told of trouble, and how messages are sent.

    Attributes:
        send: send messages from here also when bookings are not kept here.
        emails, webhooks: who is told of trouble; webhooks also get every film.
        webhook_secret: what the bodies of webhooks are signed with; without it none is sent.
        kinds: the kinds of notices they get; empty: all.
        quiet: local times ``HH:MM-HH:MM`` in which ``emails`` get critical alarms only.
        language: of their messages, and of the players'.
    """

    send: Annotated[bool, LOCAL] = False
    emails: Annotated[tuple[str, ...], LOCAL] = ()
    webhooks: Annotated[tuple[str, ...], LOCAL] = ()
    webhook_secret: Annotated[SecretStr | None, LOCAL] = None
    kinds: Annotated[tuple[NoticeKind, ...], REMOTE] = ()
    quiet: Annotated[str | None, REMOTE] = None
    language: Annotated[Language, REMOTE] = "en"

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for address in self.emails:
            if plain_address(address) is None:
                raise ValueError("emails: expected e-mail addresses like otto@club.example")
        for url in self.webhooks:
            if bad_url(url):
                raise ValueError(f"webhooks: {bad_url(url)}")
        secret = self.webhook_secret
        if secret is not None and len(secret.get_secret_value()) < SECRET_LENGTH:
            raise ValueError(f"webhook_secret: at least {SECRET_LENGTH} characters expected")
        if self.quiet is not None and bad_quiet(self.quiet):
            raise ValueError(f"quiet: {bad_quiet(self.quiet)}")
        return self


class Log(Section):
    """How much is logged, as JSON lines on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], REMOTE] = "info"


class Settings(Section):
    """Everything, read once and frozen."""

    device: Device = Device()
    camera: tuple[Camera, ...] = (Camera(name="left"), Camera(name="right"))
    mqtt: Mqtt = Mqtt()
    film: Film = Film()
    booking: Booking = Booking()
    storage: Storage = Storage()
    store: Store = Store()
    bookings: Bookings = Bookings()
    retention: Retention = Retention()
    api: Api = Api()
    branding: Branding = Branding()
    smtp: Smtp = Smtp()
    notify: Notify = Notify()
    log: Log = Log()

    @field_validator("camera")
    @classmethod
    def _cameras_differ(cls, cameras: tuple[Camera, ...]) -> tuple[Camera, ...]:
        names = [camera.name for camera in cameras]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"one or two cameras with different names expected, got {names}")
        return cameras

    @model_validator(mode="after")
    def _same_rate(self) -> Self:
        rates = {camera.fps for camera in self.camera}
        if self.film.fps is None and len(rates) > 1:
            raise ValueError(f"cameras run at {sorted(rates)} fps: film.fps must say which rate the film has")
        return self

    def camera_names(self) -> tuple[CameraName, ...]:
        """The cameras there are, left first."""
        return tuple(sorted((camera.name for camera in self.camera), key=("left", "right").index))

    def camera_of(self, name: str) -> Camera:
        """The settings of one camera.

        Raises:
            KeyError: there is none of that name.
        """
        for camera in self.camera:
            if camera.name == name:
                return camera
        raise KeyError(name)

    def film_fps(self) -> int:
        """The film's integer frame rate."""
        return self.film.fps or self.camera[0].fps

    def film_size(self, layout: Layout) -> tuple[int, int]:
        """Width and height of the film for a layout: as set, or both cameras at their own size."""
        first = self.camera[0]
        if len(self.camera) == 1:
            size = (first.width, first.height)
        elif layout == "stacked":
            size = (first.width, first.height * 2)
        else:
            size = (first.width * 2, first.height)
        if self.film.width and self.film.height and layout == self.film.layout:
            return self.film.width, self.film.height
        return size
