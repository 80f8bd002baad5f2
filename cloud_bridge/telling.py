"""When somebody has to be told: films, alarms and their ends, failed preflights. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cloud_bridge import notices
from cloud_bridge.results import ALARMS, Standing, noted
from cloud_bridge.state import State
from edge_agent.core.agent import SECOND_NS, Stamp
from edge_agent.core.effects import Notice, NoticeEntry
from edge_agent.core.recording import STAGES_LATE, accounted
from edge_agent.core.settings import Settings
from schemas.agent import AgentAvailability, Alarm
from schemas.base import Message
from schemas.health import Availability, Preflight
from schemas.recording import Recording, UploadStage
from schemas.registry import ALARM, RECORDING, UPLOAD
from schemas.topics import Address

NEWS = timedelta(days=2)
"""What is older is no news: nobody is written to about it because this software is new here."""
DOUBT_NS = 30 * SECOND_NS
"""An alarm that is absent from the broker so long, while its agent runs, is over."""
TOLD = ("critical", "major")


def world(state: State, topics: Mapping[Address[Any], Message], stamp: Stamp, device: str) -> State:
    """All alarms that stand now; one we told of that is not among them is over, or the broker lost it."""
    heard = {_subject(at): message for at, message in topics.items() if isinstance(message, Alarm)}
    doubtful = {
        subject: state.doubtful.get(subject, stamp.mono_ns)
        for subject in state.out.standing
        if subject not in heard
    }
    state = replace(state, heard=heard, doubtful=doubtful)
    for subject, alarm in heard.items():
        state = _stands(state, subject, alarm, device)
    return _alarms_noted(state)


def heard(state: State, address: Address[Any], message: Message | None, stamp: Stamp, device: str) -> State:
    """The state after a topic changed that people may have to hear of."""
    match message:
        case Alarm():
            subject = _subject(address)
            doubtful = {key: at for key, at in state.doubtful.items() if key != subject}
            state = replace(state, heard={**state.heard, subject: message}, doubtful=doubtful)
            return _alarms_noted(_stands(state, subject, message, device))
        case None if address.topic is ALARM:
            subject = _subject(address)
            state = replace(state, heard={key: a for key, a in state.heard.items() if key != subject})
            return _alarms_noted(_over(state, subject, stamp))
        case AgentAvailability():
            return replace(state, agents={**state.agents, address["agent"]: message.state})
        case Availability():
            return replace(state, agents={**state.agents, "health": message.state})
        case Preflight(ok=False):
            booking = state.bookings.get(address["id"])
            return _say(state, notices.preflight_failed(device, address["id"], booking, message))
        case _:
            return state


def _subject(address: Address[Any]) -> str:
    return f"{address['agent']}/{address['alarm']}"


def _alarms_noted(state: State) -> State:
    standing = Standing(alarms=dict(sorted(state.heard.items())))
    known = any(ALARMS in some for some in (state.results, state.out.stored, state.out.queued))
    if state.results.get(ALARMS) == standing or not (known or state.heard):
        return state
    return noted(state, ALARMS, standing)


def _stands(state: State, subject: str, alarm: Alarm, device: str) -> State:
    if alarm.severity not in TOLD:
        return state
    agent, _, name = subject.partition("/")
    return _say(state, notices.alarm(device, agent, name, alarm))


def _say(state: State, notice: Notice) -> State:
    out = state.out
    if notice.id in out.told or any(notice.id == waiting.id for waiting in _waiting(state)):
        return state
    return replace(state, out=replace(out, notices=(*out.notices, notice)))


def _waiting(state: State) -> tuple[Notice, ...]:
    """Notices on their way into the outbox."""
    keeping = (entry.notice for entry in state.out.keeping if isinstance(entry, NoticeEntry))
    return (*keeping, *state.out.notices)


def _over(state: State, subject: str, stamp: Stamp) -> State:
    """The end of an alarm, told only where its beginning was."""
    told = state.out.standing.get(subject)
    doubtful = {key: at for key, at in state.doubtful.items() if key != subject}
    state = replace(state, doubtful=doubtful)
    waiting = [one for one in _waiting(state) if one.kind == "alarm" and one.subject == subject]
    for one in (*waiting, *([told] if told is not None else [])):
        state = _say(state, notices.recovered(one, stamp.wall))
    return state


def due(state: State, stamp: Stamp, settings: Settings) -> State:
    """The state with everything said that has become due."""
    for subject, since_ns in state.doubtful.items():
        if stamp.mono_ns >= since_ns + DOUBT_NS and state.agents.get(subject.partition("/")[0]) == "online":
            state = _over(state, subject, stamp)
    for booking_id in sorted(state.out.untold):
        state = _film(state, booking_id, stamp, settings.device.id)
    return state


def _film(state: State, booking_id: str, stamp: Stamp, device: str) -> State:
    """A film that arrived is told at once when its stages are known, else after a minute."""
    stage, booking = state.results.get((booking_id, UPLOAD.key)), state.bookings.get(booking_id)
    film = stage.verified("film") if isinstance(stage, UploadStage) else None
    made = _made(state, booking_id)
    unwanted = booking is not None and not booking.wanted
    if unwanted:
        return _settled(state, booking_id)
    if film is not None and film.verified_at is not None:
        if not accounted(made.merge, made.process) and stamp.wall < film.verified_at + STAGES_LATE:
            return state
        if stamp.wall < film.verified_at + NEWS:
            state = _say(state, notices.film(device, made, film, stamp.wall))
        return _settled(state, booking_id)
    recording = state.results.get((booking_id, RECORDING.key))
    if isinstance(recording, Recording) and booking is not None and stamp.wall < booking.to + NEWS:
        state = _say(state, notices.missed(device, made, recording, stamp.wall))
    return _settled(state, booking_id)


def _settled(state: State, booking_id: str) -> State:
    return replace(state, out=replace(state.out, untold=state.out.untold - {booking_id}))


def _made(state: State, booking_id: str) -> notices.Made:
    captures = {cam: stage for (of, cam), stage in state.captures.items() if of == booking_id}
    return notices.Made(
        booking_id,
        state.bookings.get(booking_id),
        captures,
        state.merges.get(booking_id),
        state.processes.get(booking_id),
    )
