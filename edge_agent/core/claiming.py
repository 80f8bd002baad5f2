"""Which ring files are claimed when, what became of the claims, and which the ring no longer has. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_agent.core.agent import SECOND_NS, FailureKind
from edge_agent.core.backoff import delay_ns
from edge_agent.core.capture import Cause
from edge_agent.core.child import Child, silent_until
from edge_agent.core.effects import Claim, RingFile
from edge_agent.core.take_plan import Clock, Takes, status_of
from edge_agent.core.takes import Take, bounds, cover, list_segment, needs, restage
from edge_agent.core.values import replace
from schemas.work import Segment

OPEN_NS = 2 * SECOND_NS
RING_SLACK_NS = 60 * SECOND_NS
MAX_CAUSES = 300
NEVER = (0, 0)
MAX_RETRY_NS = 10 * SECOND_NS


@dataclass(frozen=True)
class Try:
    """Failed tries of one claim, and when the next may be."""

    count: int
    not_before_ns: int


@dataclass(frozen=True)
class Claims:
    """Claims asked for and not ended, by key; failed ones to be tried again; what stands in the way."""

    asked: Mapping[str, Claim] = field(default_factory=dict[str, Claim])
    tries: Mapping[str, Try] = field(default_factory=dict[str, Try])
    full: str | None = None
    trouble: str | None = None

    def busy_with(self, booking_id: str) -> bool:
        """Whether a claim for that recording is in flight."""
        return any(claim.booking_id == booking_id for claim in self.asked.values())


def name_of(booking_id: str, file: RingFile) -> str:
    """The key of the claim of one ring file for one recording."""
    return f"claim:{booking_id}:{file.name}"


def _key_of(claim: Claim) -> str:
    return name_of(claim.booking_id, claim.file)


def ask(
    claims: Claims, takes: Takes, ring: tuple[RingFile, ...], now_ns: int
) -> tuple[Claims, Takes, list[Claim]]:
    """Claims still missing, oldest segment first. The mapping of a take freezes with its first claim."""
    claims = _tidied(claims, takes, ring)
    busy = {_key_of(claim) for claim in claims.asked.values()}
    changed, found = dict(takes), list[Claim]()
    active = sorted((one for one in takes.values() if not one.idle), key=lambda one: (one.begin_ns, one.id))
    spans = _spans(active, ring)
    for file in ring:
        for one in active:
            begin_ns, end_ns = spans.get((one.id, file.boot_id), NEVER)
            if file.end_ns <= begin_ns or file.t0_ns >= end_ns:
                continue
            take = changed[one.id]
            if not needs(take, file):
                continue
            name = name_of(take.id, file)
            waits = name in claims.tries and claims.tries[name].not_before_ns > now_ns
            if name in busy or waits or not _grown_enough(take, file, now_ns):
                continue
            key = f"{name}:{file.frames}" if file.open else name
            found.append(Claim(key, booking_id=take.id, cam=take.cam, file=file))
            take = replace(take, asked_open_ns=now_ns) if file.open else take
            changed[take.id] = _freeze(take, file.boot_id)
    if not found:
        return claims, takes, found
    asked = {**claims.asked, **{claim.key: claim for claim in found}}
    return replace(claims, asked=asked), changed, found


def _spans(active: Iterable[Take], ring: Iterable[RingFile]) -> dict[tuple[str, str], tuple[int, int]]:
    """Planned begin and end of each take on the clock of each boot it knows."""
    boots = {file.boot_id for file in ring}
    return {
        (one.id, boot): bounds(one, boot, mapping.wall_offset_ns)
        for one in active
        for boot in boots
        if (mapping := one.mapping(boot)) is not None
    }


def _grown_enough(take: Take, file: RingFile, now_ns: int) -> bool:
    """Whether an open segment is due: every 2 s, and at once when it has reached the planned end."""
    if not file.open:
        return True
    mapping = take.mapping(file.boot_id)
    reached = mapping is not None and file.end_ns >= bounds(take, file.boot_id, mapping.wall_offset_ns)[1]
    return not file.key_forced and (reached or now_ns - take.asked_open_ns >= OPEN_NS)


def _freeze(take: Take, boot_id: str) -> Take:
    mapping = take.mapping(boot_id)
    frozen = any(one.boot_id == boot_id for one in take.mappings)
    return take if frozen or mapping is None else replace(take, mappings=(*take.mappings, mapping))


def claimed(
    claims: Claims, takes: Takes, key: str, segment: Segment, causes: tuple[Cause, ...]
) -> tuple[Claims, Takes]:
    """A claim ended well: the segment is listed."""
    claim = claims.asked.get(key)
    if claim is None:
        return claims, takes
    name = _key_of(claim)
    asked = {other: one for other, one in claims.asked.items() if other != key}
    tries = {other: one for other, one in claims.tries.items() if other != name}
    claims = replace(claims, asked=asked, tries=tries, full=None, trouble=None)
    take = takes.get(claim.booking_id)
    if take is None or take.released:
        return claims, takes
    take = list_segment(take, segment, causes)
    if segment.frames < claim.file.frames and not claim.file.open:
        # Asking again would bring the same: what it lacks is a gap.
        take = replace(take, lost=take.lost | {claim.file.name})
    return claims, {**takes, take.id: take}


def unclaimed(
    claims: Claims, takes: Takes, key: str, kind: FailureKind, text: str, now_ns: int
) -> tuple[Claims, Takes, Cause | None]:
    """A claim failed: gone and twice torn are lost for good, everything else is tried again later."""
    claim = claims.asked.get(key)
    if claim is None:
        return claims, takes, None
    name, file = _key_of(claim), claim.file
    count = claims.tries[name].count + 1 if name in claims.tries else 1
    asked = {other: one for other, one in claims.asked.items() if other != key}
    if kind == "gone" or (kind == "input" and count > 1):
        tries = {other: one for other, one in claims.tries.items() if other != name}
        reason = "fell off the ring" if kind == "gone" else "file unreadable"
        take = takes.get(claim.booking_id)
        if take is not None and not file.open:
            takes = {**takes, take.id: replace(take, lost=take.lost | {file.name})}
        cause = Cause(file.boot_id, file.t0_ns, file.end_ns, reason)
        return replace(claims, asked=asked, tries=tries), takes, cause
    wait_ns = 0 if kind == "input" else delay_ns(count, name, ceiling_ns=MAX_RETRY_NS)
    tried = replace(claims, asked=asked, tries={**claims.tries, name: Try(count, now_ns + wait_ns)})
    if kind == "full":
        return replace(tried, full=text), takes, None
    return (tried if kind == "input" else replace(tried, trouble=text)), takes, None


def grow(
    ring: tuple[RingFile, ...], segments: Iterable[RingFile], opened: RingFile | None
) -> tuple[RingFile, ...]:
    """The ring with new segments; an open one stands last and is replaced by its closed form."""
    new = {file.name: file for file in (*segments, *((opened,) if opened else ()))}
    if not new:
        return ring
    kept = [file for file in ring if file.name not in new and not (file.open and new)]
    return (*kept, *new.values())


def prune(
    ring: tuple[RingFile, ...], claims: Claims, takes: Takes, boot_id: str, keep_ns: int
) -> tuple[tuple[RingFile, ...], tuple[Cause, ...]]:
    """Forget files the ring no longer has; what a take still needed of them is a gap with that reason."""
    ours = [file.end_ns for file in ring if file.boot_id == boot_id]
    if not ours or ours[0] >= max(ours) - keep_ns - RING_SLACK_NS:
        return ring, ()
    asked = {claim.file.name for claim in claims.asked.values()}
    limit = max(ours) - keep_ns - RING_SLACK_NS
    # What an earlier boot left has been overwritten by now; its clock says nothing about this one's.
    old = [
        file for file in ring if file.name not in asked and (file.boot_id != boot_id or file.end_ns < limit)
    ]
    names = {file.name for file in old}
    lost = [
        Cause(file.boot_id, file.t0_ns, file.end_ns, "fell off the ring")
        for file in old
        if any(needs(take, file) for take in takes.values())
    ]
    return tuple(file for file in ring if file.name not in names), tuple(lost)


def _tidied(claims: Claims, takes: Takes, ring: Iterable[RingFile]) -> Claims:
    """Forget tries of what is no longer wanted or no longer there; with the last one its trouble is over."""
    if not claims.tries:
        return claims
    wanted = {name_of(take.id, file) for file in ring for take in takes.values() if needs(take, file)}
    tries = {name: one for name, one in claims.tries.items() if name in wanted}
    if len(tries) == len(claims.tries):
        return claims
    return replace(claims, tries=tries) if tries else replace(claims, tries=tries, full=None, trouble=None)


def with_causes(causes: tuple[Cause, ...], more: Iterable[Cause]) -> tuple[Cause, ...]:
    """The newest causes, the oldest forgotten."""
    return (*causes, *more)[-MAX_CAUSES:]


def end_causes(causes: tuple[Cause, ...], boot_id: str, now_ns: int) -> tuple[Cause, ...]:
    """Causes that lasted until now end: frames come again."""
    return tuple(
        replace(one, end_ns=now_ns) if one.end_ns is None and one.boot_id == boot_id else one
        for one in causes
    )


def lasting_cause(causes: tuple[Cause, ...], boot_id: str, begin_ns: int, reason: str) -> tuple[Cause, ...]:
    """A cause that lasts from now on; while one does, a camera that is not there says more than a restart."""
    standing = next((one for one in causes if one.end_ns is None and one.boot_id == boot_id), None)
    if standing is None:
        return with_causes(causes, (Cause(boot_id, begin_ns, None, reason),))
    if reason.endswith("restarted") or standing.reason == reason:
        return causes
    return tuple(replace(one, reason=reason) if one is standing else one for one in causes)


@dataclass(frozen=True)
class Ring:
    """What is known of the ring now: its files, the child that fills it, and why frames are missing."""

    files: tuple[RingFile, ...]
    child: Child
    causes: tuple[Cause, ...]


def account(takes: Takes, known: Takes, ring: Ring, claims: Claims, clock: Clock) -> Takes:
    """Every take's cover and stage message moved on; those as ``known`` before that need nothing stay."""
    changed = dict(takes)
    silent = silent_until(ring.child, clock.mono_ns)
    for key, take in takes.items():
        moved = take
        begin, _ = bounds(take, clock.boot_id, clock.offset_ns)
        if not take.idle and take.kept is None and clock.mono_ns >= begin:
            moved = cover(take, ring.files, clock.boot_id, clock.offset_ns, silent)
        status = status_of(moved, clock, claiming=claims.busy_with(key))
        if status != moved.stage.status or (not moved.deleted and moved is not known.get(key)):
            moved = restage(moved, status, clock.boot_id, clock.offset_ns, ring.causes)
        changed[key] = moved
    return changed


def started_again(take: Take, clock: Clock, child: Child) -> Take:
    """Count the start of a run inside a recording: every one but the first of all."""
    begin, end = bounds(take, clock.boot_id, clock.offset_ns)
    if take.idle or not begin < clock.mono_ns < end:
        return take
    again = bool(take.segments) or child.runs > 1
    return replace(
        take, restarts=take.restarts + again, encoder=(child.info or {}).get("encoder") or take.encoder
    )
