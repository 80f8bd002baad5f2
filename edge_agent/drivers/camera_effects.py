"""A camera agent's I/O: the capture child and its ring, claims onto the disk, deletion."""

import errno
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from edge_agent.core.agent import Effect, FailureKind
from edge_agent.core.effects import (
    CameraInventory,
    CaptureNews,
    CaptureStart,
    CaptureStop,
    Claim,
    DeleteMedia,
    Lost,
    RingFile,
    SetCuts,
    WatchCapture,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Settings
from edge_agent.drivers.cameras import base
from edge_agent.drivers.cameras.capture import Capture
from edge_agent.drivers.cameras.claims import claim
from edge_agent.drivers.cameras.ring import read_segment, stems
from edge_agent.drivers.disk import PathRefused, folder_beneath
from edge_agent.drivers.media import delete_media
from schemas.base import ID_PATTERN
from schemas.work import CameraName, Segment, pack_offsets

NEWS_S = 1.0
CLOSE_S = 5.0
RING_SPARE = 1.3
MIN_RING_BYTES = 32 * 1024 * 1024
_ID = re.compile(ID_PATTERN)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_REASONS: Mapping[str, str] = {
    "absent": "camera absent",
    "busy": "camera busy",
    "format": "camera format refused",
    "stall": "camera stalled",
    "exit": "camera process restarted",
    "stopped": "camera process restarted",
    "io": "ring not writable",
    "capture restarted": "agent restarted",
}


class CameraEffects:
    """The drivers of one camera agent. `run` may be called from several threads, one per lane."""

    def __init__(
        self,
        settings: Settings,
        cam: CameraName,
        boot_id: str,
        on_stderr: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._camera = settings.camera_of(cam)
        self._cam: CameraName = cam
        self._boot_id = boot_id
        self._root = Path(settings.storage.root)
        self._ring = Path(settings.storage.ring) / cam
        self._capture = Capture(cam, self._ring, boot_id, on_stderr)
        self._over = threading.Event()
        self._over.set()
        self._closing = False

    def inventory(self) -> CameraInventory:
        """The ring, recovered, and the claimed segments of every recording. Reads every description."""
        self._root.mkdir(parents=True, exist_ok=True)
        ring = tuple(_ring_file(one) for one in self._capture.inventory())
        claimed = dict(self._claimed())
        boot8 = self._boot_id.replace("-", "")[:8]
        names = [file.name for file in ring] + [one.name for many in claimed.values() for one in many]
        floor = max((int(name[9:]) for name in names if name.startswith(boot8)), default=-1)
        return CameraInventory(ring, claimed, floor)

    def run(self, effect: Effect) -> object:
        """Do one effect, blocking. `CaptureStart` blocks until capture ends, `WatchCapture` at most 1 s.

        Raises:
            EffectFailed: see the effects.
        """
        match effect:
            case CaptureStart():
                self._run_capture(effect)
            case CaptureStop():
                self._capture.stop()
            case SetCuts():
                self._capture.set_cuts(effect.cuts_ns)
            case WatchCapture():
                return _news(self._capture.news(NEWS_S))
            case Claim():
                return self._claim(effect)
            case DeleteMedia():
                delete_media(self._root, effect.booking_id, effect.parts)
            case _:
                raise EffectFailed("bug", f"a camera has no driver for {type(effect).__name__}")
        return None

    def close(self) -> None:
        """End the capture child and wait for it; no capture starts afterwards. Idempotent."""
        self._closing = True
        self._capture.stop()
        self._over.wait(CLOSE_S)

    def _run_capture(self, effect: CaptureStart) -> None:
        if self._closing:
            return
        self._over.clear()
        try:
            end = self._capture.run(self._spec(effect))
        except OSError as error:
            raise EffectFailed("transient", f"exit: no capture child: {error.strerror}", "exit") from error
        except RuntimeError as error:
            raise EffectFailed("bug", f"exit: {error}", "exit") from error
        finally:
            self._over.set()
        if end.kind != "stopped":
            kind: FailureKind = "permanent" if end.kind == "format" else "transient"
            raise EffectFailed(kind, f"{end.kind}: {end.text}", end.kind)

    def _spec(self, effect: CaptureStart) -> base.CaptureSpec:
        # Address and scenario come from the settings here, never through an effect: those are journalled.
        camera, storage = self._camera, self._settings.storage
        spare = RING_SPARE * (3 if camera.backend == "stream" else 1)
        return base.CaptureSpec(
            camera=self._cam,
            backend=camera.backend,
            boot_id=self._boot_id,
            url=camera.url or "",
            serial=camera.serial or "",
            width=camera.width,
            height=camera.height,
            fps=camera.fps,
            bitrate_bps=camera.bitrate,
            rotation=camera.rotation,
            segment_s=float(self._settings.film.segment_s),
            ring_s=float(storage.ring_s),
            ring_bytes=max(MIN_RING_BYTES, round(camera.bitrate / 8 * storage.ring_s * spare)),
            seq_floor=int(effect.spec.get("seq_floor", 0)),
            scenario=camera.scenario,
        )

    def _claim(self, effect: Claim) -> Segment:
        with _claim_errors(effect.file.name):
            folder = folder_beneath(self._root, f"recordings/{effect.booking_id}/{effect.cam}")
            there = claim(_segment_file(effect.file), self._ring, folder)
            return _segment(there, effect.booking_id, effect.cam)

    def _claimed(self) -> Iterator[tuple[str, tuple[Segment, ...]]]:
        recordings = self._root / "recordings"
        if not recordings.is_dir():
            return
        for place in sorted(recordings.iterdir()):
            folder = place / self._cam
            if (
                not _ID.fullmatch(place.name)
                or place.is_symlink()
                or folder.is_symlink()
                or not folder.is_dir()
            ):
                continue
            found = (read_segment(folder, stem) for stem in stems(folder))
            yield place.name, tuple(_segment(one, place.name, self._cam) for one in found if one is not None)


@contextmanager
def _claim_errors(name: str) -> Generator[None]:
    try:
        yield
    except base.ClaimTorn as error:
        raise EffectFailed("input", str(error)) from error
    except PathRefused as error:
        raise EffectFailed("permanent", str(error)) from error
    except FileNotFoundError as error:
        raise EffectFailed("gone", f"segment {name} is not in the ring any more") from error
    except PermissionError as error:
        raise EffectFailed("denied", f"segment {name}: {error.strerror}") from error
    except OSError as error:
        kind: FailureKind = "full" if error.errno in _FULL else "transient"
        raise EffectFailed(kind, f"segment {name}: {error.strerror}") from error


def _news(news: base.CaptureNews) -> CaptureNews:
    segments: list[RingFile] = []
    opened: RingFile | None = None
    started: Mapping[str, Any] | None = None
    lost: list[Lost] = []
    warnings: list[str] = []
    for report in news.reports:
        match report:
            case base.SegmentClosed(segment):
                segments.append(_ring_file(segment))
                opened = None if opened is not None and opened.name == segment.name else opened
            case base.SegmentOpen(segment):
                opened = _ring_file(segment)
            case base.Started():
                started = {
                    "width": report.width,
                    "height": report.height,
                    "fps": report.fps,
                    "encoder": report.encoder,
                    "device": report.device,
                    "stamp": report.stamp,
                }
            case base.Lost():
                lost.append(Lost(report.from_ns, report.to_ns, _reason(report.reason)))
            case base.Warned():
                warnings.append(report.text)
            case _:
                pass
    beat = news.beat
    return CaptureNews(
        segments=tuple(segments),
        open_segment=opened,
        started=started,
        last_frame_ns=beat.mono_ns if beat else None,
        fps=beat.fps if beat else None,
        dropped=beat.dropped if beat else 0,
        lost=tuple(lost),
        warnings=tuple(warnings),
    )


def _reason(text: str) -> str:
    return _REASONS.get(text) or _REASONS.get(text.split(":", 1)[0]) or text


def _ring_file(segment: base.SegmentFile) -> RingFile:
    return RingFile(
        name=segment.name,
        seq=int(segment.name[9:]),
        boot_id=segment.boot_id,
        stamp=segment.stamp,
        t0_ns=segment.t0_ns,
        end_ns=segment.end_ns,
        offsets_us=segment.offsets_us,
        dropped=segment.dropped,
        duplicated=segment.duplicated,
        bytes=segment.bytes,
        frames=segment.frames,
        wall_offset_ns=segment.wall_offset_ns,
        width=segment.width,
        height=segment.height,
        fps=round(segment.fps),
        open=segment.open,
        key_forced=segment.key_forced,
    )


def _segment_file(file: RingFile) -> base.SegmentFile:
    return base.SegmentFile(
        name=file.name,
        boot_id=file.boot_id,
        clock="monotonic",
        stamp=cast("base.Stamp", file.stamp),
        t0_ns=file.t0_ns,
        offsets_us=file.offsets_us,
        end_ns=file.end_ns,
        dropped=file.dropped,
        duplicated=file.duplicated,
        bytes=file.bytes,
        frames=file.frames,
        wall_offset_ns=file.wall_offset_ns,
        width=file.width,
        height=file.height,
        fps=float(file.fps),
        open=file.open,
        key_forced=file.key_forced,
    )


def _segment(there: base.SegmentFile, booking_id: str, cam: CameraName) -> Segment:
    return Segment(
        path=f"recordings/{booking_id}/{cam}/{there.name}.mp4",
        name=there.name,
        boot_id=there.boot_id,
        stamp=there.stamp,
        t0_ns=there.t0_ns,
        end_ns=there.end_ns,
        offsets=pack_offsets(there.offsets_us),
        frames=there.frames,
        dropped=there.dropped,
        duplicated=there.duplicated,
        bytes=there.bytes,
        wall_offset_ns=there.wall_offset_ns,
        width=there.width,
        height=there.height,
        fps=round(there.fps),
        open=there.open,
    )
