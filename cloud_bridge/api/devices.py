"""Devices over HTTP: beside a bridge there is one, known by its topics; in the cloud by its rows."""

import base64
import binascii
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import JsonValue, ValidationError

from cloud_bridge.api.access import RANK, access, reach
from cloud_bridge.api.context import Context, context, principal
from cloud_bridge.api.deeds import note
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.html import NO_STORE
from cloud_bridge.api.live import AWAY, alarms, cameras
from cloud_bridge.api.models import (
    AlarmOut,
    CameraOut,
    CommandIn,
    CommandOut,
    DeviceOut,
    HealthOut,
    Page,
)
from cloud_bridge.api.problems import Problem
from schemas.base import ID_PATTERN, utc_text
from schemas.commands import CommandSpec, command_for
from schemas.registry import AVAILABILITY, HEALTH

router = APIRouter(route_class=GuardedRoute, tags=["devices"])
DeviceId = Annotated[str, Path(pattern=ID_PATTERN, description="the device's id")]
Camera = Annotated[str, Path(pattern=ID_PATTERN, description="the camera's name")]
Word = Annotated[str, Path(pattern=ID_PATTERN)]
DEADLINE_S = 60
_NEEDS: dict[Literal["court", "admin"], str] = {"court": "operator", "admin": "admin"}


@router.get("/devices", openapi_extra=access("user", "rows"))
def list_devices(request: Request) -> Page[DeviceOut]:
    """The devices."""
    return Page(items=() if reach(request).nothing else (_device(context(request)),))


@router.get("/devices/{device_id}", openapi_extra=access("user", "device"))
def read_device(request: Request, device_id: DeviceId) -> DeviceOut:  # noqa: ARG001 - asked by the gate
    """One device; ``state`` null: it is not heard here."""
    return _device(context(request))


@router.get("/devices/{device_id}/cameras", openapi_extra=access("operator", "device"))
def list_cameras(request: Request, device_id: DeviceId) -> Page[CameraOut]:  # noqa: ARG001 - as above
    """Its cameras; ``state`` null: the device is not heard here."""
    ctx = context(request)
    states = cameras(ctx.live)
    return Page(items=tuple(CameraOut.of(name, states.get(name)) for name in ctx.settings.camera_names()))


@router.get(
    "/devices/{device_id}/cameras/{cam}/snapshot",
    response_class=Response,
    responses={200: {"description": "a JPEG", "content": {"image/jpeg": {}}}},
    openapi_extra=access("operator", "device"),
)
def take_still(request: Request, device_id: DeviceId, cam: Camera) -> Response:
    """A still picture, taken now and kept nowhere. Refused (409) where nothing may be recorded."""
    ctx = context(request)
    if cam not in ctx.settings.camera_names():
        raise Problem(404, f"there is no camera {cam} at {device_id}")
    found = ctx.live.still(cam) if ctx.live is not None else AWAY
    if isinstance(found, str):
        raise Problem(409, found)
    note(request, "camera.snapshot", device_id, camera=cam)
    try:
        picture = base64.b64decode(found.jpeg_base64, validate=True)
    except binascii.Error:
        raise Problem(409, "the camera sent no picture") from None
    return Response(picture, headers=NO_STORE, media_type="image/jpeg")


@router.get("/devices/{device_id}/alarms", openapi_extra=access("operator", "device"))
def list_alarms(request: Request, device_id: DeviceId) -> Page[AlarmOut]:  # noqa: ARG001 - as above
    """What stands, with what to do; 409 while the device is not heard here."""
    found = alarms(context(request).live)
    if found is None:
        raise Problem(409, AWAY)
    return Page(
        items=tuple(AlarmOut.of(agent, alarm, body) for (agent, alarm), body in sorted(found.items()))
    )


@router.get("/devices/{device_id}/health", openapi_extra=access("operator", "device"))
def device_health(request: Request, device_id: DeviceId) -> HealthOut:
    """The last metrics the device sent; 404 while there are none."""
    stored = context(request).store.results(device_id).get(HEALTH.key)
    if stored is None:
        raise Problem(404, f"nothing is known of a device {device_id}")
    return HealthOut(stored_at=stored.stored_at, health=dict(stored.body))


@router.post(
    "/devices/{device_id}/commands/{target}/{name}",
    status_code=202,
    openapi_extra=access("operator", "device"),
)
def order(request: Request, device_id: DeviceId, target: Word, name: Word, asked: CommandIn) -> CommandOut:
    """Order a command; the device's bridge carries it out before the deadline, or never.

    Idempotent by ``id``. What the buttons on the court may is open to operators, everything else to admins.
    """
    ctx, who = context(request), principal(request)
    spec = command_for(target, name)
    if spec is None:
        raise Problem(404, f"there is no command {target}/{name}")
    if RANK[who.role] < RANK[_NEEDS[spec.role]]:
        raise Problem(403, f"{target}/{name} needs the role {_NEEDS[spec.role]}")
    if (target, name) == ("booking", "book"):
        raise Problem(422, "book by POST /api/v1/bookings: names and addresses are in no command")
    args, deadline = _checked(spec, asked), _deadline(ctx, asked)
    command_id = ctx.store.order_command(
        {"id": asked.id, "target": target, "name": name, "args": args, "deadline": deadline, "by": who.user}
    )
    note(request, "command", device_id, command=f"{target}/{name}", id=command_id)
    return CommandOut(id=command_id, target=target, name=name, deadline=deadline)


def _checked(spec: CommandSpec, asked: CommandIn) -> dict[str, JsonValue]:
    try:
        return dict(spec.args.model_validate(asked.args).body())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("args", *first["loc"]))
        raise Problem(422, f"{where}: {first['msg']}") from None


def _deadline(ctx: Context, asked: CommandIn) -> str:
    if asked.deadline is None:
        if asked.id is not None:
            raise Problem(422, "deadline: expected with an id, so that the same again is the same")
        return utc_text(ctx.now() + timedelta(seconds=DEADLINE_S))
    if asked.deadline <= ctx.now():
        raise Problem(422, "deadline: it is past")
    return utc_text(asked.deadline)


def _device(ctx: Context) -> DeviceOut:
    settings = ctx.settings
    found = ctx.live.topics().get(AVAILABILITY.at()) if ctx.live is not None else None
    return DeviceOut(
        id=settings.device.id,
        org=settings.device.org,
        timezone=settings.device.timezone,
        cameras=settings.camera_names(),
        state=getattr(found, "state", None),
    )
