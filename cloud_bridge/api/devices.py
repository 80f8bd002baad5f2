"""Devices over HTTP: beside a bridge there is one."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from cloud_bridge.api.access import access, reach
from cloud_bridge.api.context import context
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.models import DeviceOut, HealthOut, Page
from cloud_bridge.api.problems import Problem
from schemas.base import ID_PATTERN
from schemas.registry import HEALTH

router = APIRouter(route_class=GuardedRoute, tags=["devices"])
DeviceId = Annotated[str, Path(pattern=ID_PATTERN, description="the device's id")]


@router.get("/devices", openapi_extra=access("user", "rows"))
def list_devices(request: Request) -> Page[DeviceOut]:
    """The devices."""
    if reach(request).nothing:
        return Page(items=())
    settings = context(request).settings
    device = DeviceOut(
        id=settings.device.id,
        org=settings.device.org,
        timezone=settings.device.timezone,
        cameras=settings.camera_names(),
    )
    return Page(items=(device,))


@router.get("/devices/{device_id}/health", openapi_extra=access("operator", "device"))
def device_health(request: Request, device_id: DeviceId) -> HealthOut:
    """The last metrics the device sent; 404 while there are none."""
    ctx = context(request)
    stored = ctx.store.results(device_id).get(HEALTH.key)
    if stored is None:
        raise Problem(404, f"nothing is known of a device {device_id}")
    return HealthOut(stored_at=stored.stored_at, health=dict(stored.body))
