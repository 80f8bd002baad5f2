"""Will the next booking record, and what is wrong here."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, connect, fail, out, out_json, read_settings

if TYPE_CHECKING:
    from edge_agent.cli.examine import Finding
    from edge_agent.core.settings import Settings
    from edge_agent.runtime.client import Client


def preflight(
    id: Annotated[str | None, typer.Argument(help="The booking's id; the next one by default.")] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Ask the device whether the next booking will record. Exit 1 when something fails."""
    from pydantic import ValidationError

    from edge_agent.runtime.client import NoAnswer, NoBroker
    from schemas.commands import PreflightArgs
    from schemas.health import Preflight

    try:
        args = PreflightArgs(id=id)
    except ValidationError:
        fail(f"{id!r} is no id of a booking", 2)
    try:
        with connect(read_settings(config)) as client:
            answer = client.ask("health", "preflight", args)
    except (NoBroker, NoAnswer) as error:
        fail(str(error))
    if answer.status != "ok":
        fail(answer.message)
    result = Preflight.model_validate(answer.data)
    if json:
        out_json(answer.data)
    else:
        for check in result.checks:
            mark = "FAIL" if not check.ok else "warn" if check.warn else "ok"
            out(_row(mark, check.name, check.value, check.mend))
        out(answer.message)
    if not result.ok:
        raise typer.Exit(1)


def doctor(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Say what is wrong here, each with what to do; also without broker. Exit 1 when anything is."""
    wrong, rows = False, list[dict[str, str | None]]()
    for finding in _findings(config):
        wrong |= finding.mend is not None
        rows.append({"what": finding.what, "text": finding.text, "mend": finding.mend})
        if not json:
            out(_row("WRONG" if finding.mend else "ok", finding.what, finding.text, finding.mend))
    if json:
        out_json({"ok": not wrong, "findings": rows})
    if wrong:
        raise typer.Exit(1)


def _row(mark: str, name: str, text: str, mend: str | None) -> str:
    return f"{mark:5} {name}: {text}" + (f". What to do: {mend}" if mend else "")


def _findings(config: Path | None) -> "Iterator[Finding]":
    from edge_agent.cli.examine import Finding, clock, examined, ffmpeg
    from edge_agent.runtime.settings import SettingsError, load

    try:
        settings = load(config)
    except SettingsError as error:
        yield Finding("settings", str(error), "correct it; 'ezrec config check' tells the next mistake")
        yield from (ffmpeg(), clock())
        return
    yield Finding("settings", f"those of {settings.device.id}")
    yield from examined(settings)
    yield from _agents(settings)


def _agents(settings: "Settings") -> "Iterator[Finding]":
    """The broker, who is on it, and the alarms that stand there."""
    from edge_agent.app import endpoint_of
    from edge_agent.cli.examine import Finding
    from edge_agent.runtime.client import Client, NoBroker
    from schemas.registry import AGENT_AVAILABILITY, ALARM, AVAILABILITY, HEALTH

    try:
        watched = (AGENT_AVAILABILITY, ALARM, AVAILABILITY, HEALTH)
        with Client(endpoint_of(settings, "cli"), settings.device.id, watched) as client:
            yield Finding("broker", "takes account cli")
            client.wait_for(lambda topics: HEALTH.at() in topics, 3)
            yield from _on_the_broker(client, settings)
    except NoBroker as error:
        yield Finding("broker", str(error), "start it, and compare [mqtt] with its accounts and passwords")
    except OSError as error:
        text = f"the password of account cli cannot be read ({error})"
        yield Finding("broker", text, "run this as root, or correct mqtt.passwords")


def _on_the_broker(client: "Client", settings: "Settings") -> "Iterator[Finding]":
    from edge_agent.app import agent_names
    from edge_agent.cli.examine import Finding
    from schemas.agent import AgentAvailability, Alarm
    from schemas.health import Availability
    from schemas.registry import AVAILABILITY

    topics = client.known()
    states = {at["agent"]: m.state for at, m in topics.items() if isinstance(m, AgentAvailability)}
    health = topics.get(AVAILABILITY.at())
    if isinstance(health, Availability):
        states["health"] = health.state
    for name in agent_names(settings):
        state = states.get(name, "never seen")
        mend = None if state == "online" else "start it with 'ezrec up' or its service, and look at its log"
        yield Finding(name, state, mend)
    alarms = {f"{at['agent']}/{at['alarm']}": m for at, m in topics.items() if isinstance(m, Alarm)}
    for key, alarm in sorted(alarms.items()):
        if "/agent_down_" not in key:  # said above, as it is now
            yield Finding(
                key, f"{alarm.severity} since {alarm.since:%Y-%m-%d %H:%M} UTC: {alarm.text}", alarm.mend
            )
