"""The bus: MQTT 5 over paho, and the only import of paho.

Traps this module guards against, each measured: a callback that raises kills the network thread while
``is_connected()`` stays true; messages queued while offline are replayed stale; an oversize message loops
for ever; a denied publish counts as published; a denied subscription is silent; a process start wipes a
session unless told otherwise; paho calls ``on_publish`` with its own lock held, so no lock of ours may be
held around ``publish``; and it writes to the socket from the publishing thread, in the middle of another
packet, unless the network thread is its own (``loop_start``).
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from schemas.base import MAX_PAYLOAD_BYTES

log = logging.getLogger(__name__)
_faults = log.getChild("paho")
_faults.addFilter(lambda record: "exception" in str(record.msg))  # it calls every goodbye an error

KEEPALIVE_S = 20
SESSION_EXPIRY_S = 30  # only so that the will's delay is honoured; a session is never resumed
WILL_DELAY_S = 5


def _pair() -> tuple[socket.socket, socket.socket]:
    here, there = socket.socketpair()
    here.settimeout(0)
    there.settimeout(0)
    return here, there


# paho wakes its thread through a connection over 127.0.0.1. An agent that is given no network has none.
mqtt._socketpair_compat = _pair  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True)
class Connected:
    """The broker accepted us and our subscriptions; retained messages are on their way."""


@dataclass(frozen=True)
class Disconnected:
    """The connection ended or could not be made; it is tried again by itself."""

    reason: str


@dataclass(frozen=True)
class Received:
    """A message. ``topic`` is the whole topic; response topic and correlation are MQTT 5's.

    ``retained``: it was published to be kept, now or before we came.
    """

    topic: str
    payload: bytes
    retained: bool
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True)
class Refused:
    """The broker refused a publication (ACL, quota): the text names topic and reason."""

    text: str


BusEvent: TypeAlias = Connected | Disconnected | Received | Refused


@dataclass(frozen=True)
class Endpoint:
    """Where the broker is and who we are there. ``socket`` wins over host and port."""

    host: str
    port: int
    account: str
    password: str | None
    socket: str | None = None
    tls: bool = False


@dataclass(frozen=True)
class Will:
    """What the broker publishes, retained, when we vanish."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class Subscription:
    """A filter; with ``no_local`` our own publications do not come back."""

    filter: str
    no_local: bool = False


class Bus:
    """One connection. Events are handed to ``sink`` from the network thread; it must only enqueue.

    Reconnects by itself for ever (1 to 10 s). Publications while disconnected are refused with False:
    the caller compares and publishes anew after the next `Connected`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        client_id: str,
        subscriptions: Sequence[Subscription],
        sink: Callable[[BusEvent], None],
        will: Will | None = None,
    ) -> None:
        self._sink = sink
        self._subscriptions = tuple(subscriptions)
        self._endpoint = endpoint
        self._acks = threading.Condition()
        self._pending: dict[int, str] = {}
        self._early: dict[int, ReasonCode] = {}
        self._ready = threading.Event()
        self._accepted = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._client_id = client_id
        self._client = self._make_client(client_id, will)

    def _make_client(self, client_id: str, will: Will | None) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            transport="unix" if self._endpoint.socket else "tcp",
        )
        client.username_pw_set(self._endpoint.account, self._endpoint.password)
        client.max_inflight_messages_set(20)
        client.reconnect_delay_set(1, 10)
        client.suppress_exceptions = True  # logged by paho as errors
        client.enable_logger(_faults)
        if self._endpoint.tls:
            client.tls_set_context(ssl.create_default_context())  # pyright: ignore[reportUnknownMemberType]
        if will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S)
            client.will_set(will.topic, will.payload, qos=1, retain=True, properties=properties)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        return client

    # --- called by the host ---

    def start(self) -> None:
        """Connect in the background."""
        endpoint = self._endpoint
        self._client.connect_async(
            endpoint.socket or endpoint.host,
            endpoint.port,
            KEEPALIVE_S,
            clean_start=True,
            properties=_properties(PacketTypes.CONNECT, SessionExpiryInterval=SESSION_EXPIRY_S),
        )
        self._client.loop_start()
        name = f"paho-mqtt-client-{self._client_id}"
        self._thread = next((thread for thread in threading.enumerate() if thread.name == name), None)

    def alive(self) -> bool:
        """Whether the network thread still runs; when not, the process must be replaced."""
        return self._thread is not None and self._thread.is_alive()

    def ready(self) -> bool:
        """Whether we are connected and subscribed."""
        return self._ready.is_set()

    def publish(self, topic: str, payload: bytes, *, retain: bool, correlation: bytes | None = None) -> bool:
        """Hand a message to the broker (QoS 1). False when disconnected or too large: nothing was sent."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            self._sink(Refused(f"{topic}: {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may be sent"))
            return False
        if not self._ready.is_set():
            return False
        properties = None
        if correlation is not None:
            properties = _properties(PacketTypes.PUBLISH, CorrelationData=correlation)
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            return False  # what paho queued is dropped at the next connection
        with self._acks:
            early = self._early.pop(info.mid, None)
            if early is None:
                self._pending[info.mid] = topic
        if early is not None and early.is_failure:
            self._sink(Refused(f"{topic}: {early}"))
        return True

    def resubscribe(self) -> None:
        """Ask for all retained messages again."""
        self._subscribe()

    def stop(self) -> None:
        """Say goodbye (no will is sent) and end the network thread, waiting at most 3 s."""
        self._stopping = True
        self._client.disconnect()
        if self._thread is not None:
            self._thread.join(3)

    def flush(self, timeout_s: float) -> None:
        """Wait until everything published was acknowledged, at most ``timeout_s``."""
        with self._acks:
            self._acks.wait_for(lambda: not self._pending, timeout_s)

    # --- called by paho's thread ---

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, _p: object
    ) -> None:
        if reason.is_failure:
            self._sink(Disconnected(f"broker refused {self._endpoint.account}: {reason}"))
            return
        self._accepted = True
        self._drop_unsent()
        self._subscribe()

    def _drop_unsent(self) -> None:
        # The host compares after the next connection; what was under way is stale by then.
        self._client.drop_out_messages()
        with self._acks:
            self._pending.clear()
            self._early.clear()
            self._acks.notify_all()

    def _subscribe(self) -> None:
        options = [
            (sub.filter, SubscribeOptions(qos=1, noLocal=sub.no_local, retainAsPublished=True))
            for sub in self._subscriptions
        ]
        self._client.subscribe(options)

    def _on_subscribe(
        self, _client: object, _data: object, _mid: int, reasons: Sequence[ReasonCode], _p: object
    ) -> None:
        refused = [
            sub.filter for sub, code in zip(self._subscriptions, reasons, strict=False) if code.is_failure
        ]
        if refused:
            self._sink(Refused(f"subscriptions refused: {', '.join(refused)}"))
        self._ready.set()
        self._sink(Connected())

    def _on_connect_fail(self, _client: object, _data: object) -> None:
        self._ready.clear()
        self._sink(Disconnected("the broker cannot be reached"))

    def _on_disconnect(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode | None, _p: object
    ) -> None:
        self._ready.clear()
        self._drop_unsent()
        if self._accepted and not self._stopping:
            self._sink(Disconnected(str(reason)))
        self._accepted = False

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        properties: Any = message.properties
        self._sink(
            Received(
                message.topic,
                bytes(message.payload),
                bool(message.retain),
                getattr(properties, "ResponseTopic", None),
                getattr(properties, "CorrelationData", None),
            )
        )

    def _on_publish(self, _client: object, _data: object, mid: int, reason: ReasonCode, _p: object) -> None:
        with self._acks:
            topic = self._pending.pop(mid, None)
            if topic is None:
                self._early[mid] = reason  # quicker than `publish` could write it down
            self._acks.notify_all()
        if topic is not None and reason.is_failure:
            self._sink(Refused(f"{topic}: {reason}"))


def _properties(packet: int, **values: object) -> Properties:
    """MQTT 5 properties of a packet; paho's class has no types."""
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
