"""Figures for Prometheus, as text."""

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Request, Response
from pydantic import JsonValue

from cloud_bridge.api.access import access
from cloud_bridge.api.context import Context, context
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.html import NO_STORE
from cloud_bridge.api.live import cameras
from cloud_bridge.resolve import moment
from schemas.registry import HEALTH

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEALTH = {
    "cpu_pct": ("ezrec_cpu_percent", "processor in use"),
    "temperature_c": ("ezrec_temperature_celsius", "of the processor"),
    "memory_used_pct": ("ezrec_memory_used_percent", "memory in use"),
    "disk.free_bytes": ("ezrec_disk_free_bytes", "space for recordings"),
    "disk.booked_hours": ("ezrec_disk_booked_hours", "booked hours that still fit"),
    "clock.offset_ms": ("ezrec_clock_offset_milliseconds", "of the wall clock"),
    "alarms.active": ("ezrec_alarms_active", "standing alarms"),
}
Row = tuple[Mapping[str, str], float]


@router.get("/metrics", openapi_extra=access("operator", "club"))
def metrics(request: Request) -> Response:
    """Figures of the device and of this process."""
    lines = [
        line
        for name, about, kind, rows in _all(context(request))
        for line in _metric(name, about, kind, rows)
    ]
    return Response("".join(lines), headers=NO_STORE, media_type=MEDIA_TYPE)


def _all(ctx: Context) -> Iterator[tuple[str, str, str, list[Row]]]:
    device = {"device": ctx.settings.device.id}
    stored = ctx.store.results(ctx.settings.device.id).get(HEALTH.key)
    if stored is not None:
        seen = moment(stored.stored_at).timestamp()
        yield "ezrec_device_seen_timestamp_seconds", "when its last row came in", "gauge", [(device, seen)]
        for path, (name, about) in _HEALTH.items():
            value = _at(stored.body, path)
            if value is not None:
                yield name, about, "gauge", [(device, value)]
    states = cameras(ctx.live)
    frames: list[Row] = [
        ({**device, "camera": cam}, one.fps) for cam, one in states.items() if one.fps is not None
    ]
    yield "ezrec_camera_fps", "frames a second of a camera", "gauge", frames
    dropped: list[Row] = [({**device, "camera": cam}, one.dropped) for cam, one in states.items()]
    yield "ezrec_camera_dropped_frames", "frames a camera lost", "gauge", dropped
    answers: list[Row] = [({"status": str(status)}, count) for status, count in sorted(ctx.answered.items())]
    yield "ezrec_api_answers_total", "answers of this process", "counter", answers
    yield "ezrec_api_listeners", "who listens for events", "gauge", [({}, len(ctx.feed))]


def _metric(name: str, about: str, kind: str, rows: list[Row]) -> Iterator[str]:
    if rows:
        yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n"
    for labels, value in rows:
        named = ",".join(f'{key}="{text}"' for key, text in labels.items())
        yield f"{name}{{{named}}} {value:.15g}\n" if named else f"{name} {value:.15g}\n"


def _at(body: Mapping[str, JsonValue], path: str) -> float | None:
    found: JsonValue = dict(body)
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) else None
