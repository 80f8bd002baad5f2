"""What the device beside this process says now, by its broker. Without one, or while it is away: nothing."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edge_agent.runtime.bus import Endpoint
from edge_agent.runtime.client import Client, NoAnswer
from schemas.agent import Alarm
from schemas.base import Message
from schemas.camera import CameraStatus, Snapshot
from schemas.registry import ALARM, AVAILABILITY, CAMERA_SNAPSHOT, CAMERA_STATUS, HEALTH
from schemas.topics import Address

WATCHED = (AVAILABILITY, HEALTH, CAMERA_STATUS, CAMERA_SNAPSHOT, ALARM)
AWAY = "the device cannot be reached from here now"
STILL_S = 5.0
Told = Callable[[Address[Any], Message | None], None]


class Live(Protocol):
    """A device's topics, as far as they are known here."""

    def start(self, told: Told) -> None:
        """Begin; ``told`` of every change, from another thread."""
        ...

    def stop(self) -> None:
        """End. Once, and only after `start`."""
        ...

    def topics(self) -> Mapping[Address[Any], Message]:
        """The latest messages; none while the broker is away: they might be old."""
        ...

    def still(self, cam: str) -> Snapshot | str:
        """A still picture taken now, or in one line why there is none. Blocks for some seconds at most."""
        ...


class LiveDevice:
    """`Live` by MQTT, as account ``api``. Tries again by itself for as long as it takes."""

    def __init__(self, endpoint: Endpoint, device: str) -> None:
        """Where the broker is, and which device is beside it. Connects when started."""
        self._endpoint = endpoint
        self._device = device
        self._client: Client | None = None

    def start(self, told: Told) -> None:
        self._client = Client(self._endpoint, self._device, WATCHED, told)
        self._client.start()

    def stop(self) -> None:
        if self._client is not None:
            self._client.stop()
            self._client = None

    def topics(self) -> Mapping[Address[Any], Message]:
        client = self._client
        return client.known() if client is not None and client.ready() else {}

    def still(self, cam: str) -> Snapshot | str:
        client, address = self._client, CAMERA_SNAPSHOT.at(cam=cam)
        if client is None or not client.ready():
            return AWAY
        before = client.get(address)
        try:
            answer = client.ask(f"camera_{cam}", "snapshot", timeout_s=STILL_S)
        except NoAnswer as error:
            return str(error)
        if answer.status not in ("ok", "accepted"):
            return answer.message or f"the camera said {answer.status}"
        client.wait_for(lambda topics: topics.get(address) is not before, STILL_S)
        found = client.get(address)
        return found if found is not None and found is not before else "no picture came"


def cameras(live: Live | None) -> Mapping[str, CameraStatus]:
    """The cameras' states, by name."""
    topics: Mapping[Address[Any], Message] = live.topics() if live is not None else {}
    return {
        address["cam"]: message
        for address, message in topics.items()
        if address.topic is CAMERA_STATUS and isinstance(message, CameraStatus)
    }


def alarms(live: Live | None) -> Mapping[tuple[str, str], Alarm] | None:
    """The standing alarms by agent and id; None when the device is not heard here."""
    topics: Mapping[Address[Any], Message] = live.topics() if live is not None else {}
    if not topics:
        return None
    return {
        (address["agent"], address["alarm"]): message
        for address, message in topics.items()
        if isinstance(message, Alarm)
    }
