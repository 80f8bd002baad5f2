"""What a device does now, and why a film is late."""

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, connect, fail, out, out_json, read_settings

if TYPE_CHECKING:
    from edge_agent.runtime.client import Client
    from schemas.base import Message

SETTLE_S = 0.5


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show agents, cameras, bookings, recordings and alarms."""
    from edge_agent.runtime.client import NoBroker
    from schemas.registry import (
        AGENT_STATUS,
        ALARM,
        AVAILABILITY,
        BOOKING,
        CAMERA_STATUS,
        HEALTH,
        RECORDING,
    )

    watched = (AVAILABILITY, AGENT_STATUS, CAMERA_STATUS, BOOKING, RECORDING, ALARM, HEALTH)
    pause = threading.Event()
    try:
        with connect(read_settings(config), watched) as client:
            pause.wait(SETTLE_S)
            while True:
                _print_status(client, as_json=json)
                if not watch:
                    return
                pause.wait(2)
    except NoBroker as error:
        fail(str(error))
    except KeyboardInterrupt:
        return


def _print_status(client: "Client", *, as_json: bool) -> None:
    topics = {
        address.path: message for address, message in sorted(client.topics.items(), key=lambda i: i[0].path)
    }
    if as_json:
        out_json({path: message.body() for path, message in topics.items()})
        return
    for path, message in topics.items():
        out(f"{path:44} {_line(message)}")


def _line(message: "Message") -> str:
    body = message.body()
    wanted = ("state", "status", "severity", "progress_pct", "why", "text", "from", "to", "fps", "mend")
    return "  ".join(f"{key}={body[key]}" for key in wanted if body.get(key) not in (None, ""))


def _fetch(config: ConfigOption, topic: str, booking_id: str) -> Any:  # noqa: ANN401 - the topic's own model
    from edge_agent.runtime.client import NoBroker
    from schemas import registry

    kind = getattr(registry, topic)
    try:
        address = kind.at(id=booking_id)
    except ValueError:
        fail(f"{booking_id!r} is no id of a booking", 2)
    try:
        with connect(read_settings(config), (kind,)) as client:
            client.wait_for(lambda topics: address in topics, 3)
            message = client.get(address)
    except NoBroker as error:
        fail(str(error))
    if message is None:
        fail(f"nothing is known of {booking_id} yet")
    return message


def receipt(
    id: Annotated[str, typer.Argument(help="The booking's id.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Print the account of one recording."""
    message = _fetch(config, "RECEIPT", id)
    if json:
        out_json(message.body())
        return
    from edge_agent.cli.words import receipt_lines

    for line in receipt_lines(message):
        out(line)


def why(
    id: Annotated[str, typer.Argument(help="The booking's id.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Say in words where a film is, or why it is late or incomplete."""
    message = _fetch(config, "RECORDING", id)
    if json:
        out_json(message.body())
        return
    eta = f" About {message.eta_s:.0f} s to go." if message.eta_s else ""
    out(f"{message.state}: {message.why}{eta}")
