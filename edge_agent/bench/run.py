"""Measures: idle, one booking on loopback, the same behind a 20 Mb/s line, and the two usual ways."""

import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from edge_agent.app import agent_names, endpoint_of
from edge_agent.bench.baselines import Cost, join, sequential, single_pass
from edge_agent.demo.lab import ASSETS, Lab, Plan
from edge_agent.demo.run import WATCHED, make_token, record_one, wait_ready
from edge_agent.demo.throttle import ThrottleProxy
from edge_agent.demo.usage import children, is_capture_child, pss_bytes, tree_seconds
from edge_agent.runtime.client import Client
from schemas.registry import PROCESS

IDLE_S = 20
TRIES = 3
LINE_BYTES_PER_S = 20_000_000 // 8
GRAIN = 8  # makes the film reach its bit rate cap, so that the line has something to carry
AGENTS_APART = ("bridge",)


@dataclass(frozen=True)
class Figure:
    """One measured number beside the bound it is held to (None: printed only)."""

    name: str
    value: float
    unit: str
    bound: float | None = None

    @property
    def good(self) -> bool:
        """Whether the bound holds."""
        return self.bound is None or self.value <= self.bound


Say = Callable[[str], None]


def run(seconds: int, *, as_json: bool, say: Say, out: Say) -> int:
    """Measure everything; ``out`` gets a table (or JSON). Returns 1 when a bound is missed."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ezrec-bench-") as name:
        folder = Path(name)
        with Lab(Plan(folder=folder / "fast")) as lab:
            figures += _fast(lab, folder, seconds, say)
        figures += _slow_line(folder / "slow", min(seconds, 60), say)
    if as_json:
        at = datetime.now(UTC).isoformat()
        out(json.dumps({"at": at, "figures": [vars(figure) for figure in figures]}))
    else:
        for figure in figures:
            bound = f"  (at most {figure.bound:g})" if figure.bound is not None else ""
            mark = "" if figure.good else "  MISSED"
            out(f"{figure.name:58} {figure.value:10.3f} {figure.unit}{bound}{mark}")
    return 0 if all(figure.good for figure in figures) else 1


def _fast(lab: Lab, folder: Path, seconds: int, say: Say) -> list[Figure]:
    token = make_token(lab)
    with Client(endpoint_of(lab.settings, "cli"), lab.plan.device, WATCHED) as client:
        wait_ready(client, lab)
        say(f"idle for {IDLE_S} s")
        figures = _idle(lab)
        keeper = SegmentKeeper(Path(lab.settings.storage.root), folder / "kept")
        keeper.start()
        rings = _ring_seconds(lab)
        result = record_one(client, lab, token, seconds, say)
        rings = _ring_seconds(lab) - rings
        keeper.stop()
        stage = client.get(PROCESS.at(id=result["booking_id"]))
        say("the usual ways over the same files, three times each, beside the running cameras")
        render_cpu_s = stage.render_cpu_s if stage is not None else float("inf")
        figures += _compare(lab, folder, keeper, result, render_cpu_s, rings)
    return figures


def _idle(lab: Lab) -> list[Figure]:
    agents = [lab.pid(name) for name in agent_names(lab.settings) if name not in AGENTS_APART]
    before = tree_seconds(agents, capture=False)
    began = time.monotonic()
    threading.Event().wait(IDLE_S)
    cores = (tree_seconds(agents, capture=False) - before) / (time.monotonic() - began)
    memory = sum(pss_bytes(pid) + _helpers_pss(pid) for pid in agents) / 1e6
    apart = {name: lab.pid(name) for name in ("bridge", "api")}
    if lab.broker is not None:
        apart["broker"] = lab.broker.pid
    return [
        Figure("idle: agents together", cores, "cores", 0.10),
        Figure("idle: agents together, PSS", memory, "MB", 300),
        *(Figure(f"idle: {name} apart, PSS", pss_bytes(pid) / 1e6, "MB") for name, pid in apart.items()),
    ]


def _helpers_pss(pid: int) -> int:
    return sum(pss_bytes(child) for child in children(pid) if not is_capture_child(child))


def _ring_seconds(lab: Lab) -> float:
    return tree_seconds([lab.pid(f"camera_{cam}") for cam in lab.settings.camera_names()], capture=True)


def _compare(
    lab: Lab, folder: Path, keeper: "SegmentKeeper", result: dict[str, Any], render_cpu_s: float, rings: float
) -> list[Figure]:
    left, right = (keeper.joined(cam, result["booking_id"]) for cam in ("left", "right"))
    size = (result["width"], result["height"])
    logos = scaled_logos(lab, folder, size[1])
    one = _median(lambda: single_pass(left, right, logos, folder / "single.mp4"))
    many = _median(
        lambda: sequential(left, right, ASSETS / "intro.mp4", logos, size, folder / "sequential.mp4")
    )
    total = result["cpu_seconds"]
    watch = result["whistle_to_watchable_s"] or float("inf")
    return [
        Figure("whistle to watchable, loopback", watch, "s", 4.0),
        Figure("  the sequential way starts at the whistle and takes", many.wall_s, "s"),
        Figure("rendering, CPU", render_cpu_s, "s"),
        Figure("single pass, CPU (median of 3)", one.cpu_s, "s"),
        Figure("sequential, CPU (median of 3)", many.cpu_s, "s"),
        Figure("rendering / single pass", render_cpu_s / one.cpu_s, "", 1.2),
        Figure("all agents and children / single pass", total / one.cpu_s, "", 1.45),
        Figure("all agents and children / sequential", total / many.cpu_s, "", 0.65),
        Figure("frame generators and ring encoders beside it, CPU", rings, "s"),
        Figure("start error", abs(result["start_error_ms"]), "ms", 1000 / result["fps"]),
        Figure("end error", abs(result["end_error_ms"]), "ms", 1000 / result["fps"]),
    ]


def scaled_logos(lab: Lab, folder: Path, height: int) -> list[Path]:
    """The device's logos as PNG in the size they have in the film, for the usual ways."""
    paths: list[Path] = []
    for logo in lab.settings.branding.logos:
        width = round(logo.size / 100 * height)
        with Image.open(logo.file) as picture:
            scaled = picture.convert("RGBA").resize((width, max(1, width * picture.height // picture.width)))
        paths.append(folder / f"{logo.slot}.png")
        scaled.save(paths[-1])
    return paths


def _median(measure: Callable[[], Cost]) -> Cost:
    costs = [measure() for _ in range(TRIES)]
    return Cost(statistics.median(c.cpu_s for c in costs), statistics.median(c.wall_s for c in costs))


def _slow_line(folder: Path, seconds: int, say: Say) -> list[Figure]:
    say("behind a line of 20 Mb/s, three times")
    waits: list[float] = []
    rates: list[float] = []
    lab = Lab(Plan(folder=folder, scenarios={cam: {"grain": GRAIN} for cam in ("left", "right")}))
    lab.start_servers()
    if lab.bucket is None:
        return []
    with ThrottleProxy(lab.bucket.port, up_bytes_per_s=LINE_BYTES_PER_S) as line:
        lab.bucket_endpoint = line.endpoint
        try:
            lab.start_device()
            token = make_token(lab)
            with Client(endpoint_of(lab.settings, "cli"), lab.plan.device, WATCHED) as client:
                wait_ready(client, lab)
                for _ in range(TRIES):
                    result = record_one(client, lab, token, seconds, say)
                    waits.append(result["whistle_to_watchable_s"] or float("inf"))
                    rates.append(result["film_bytes"] * 8 / result["film_duration_s"] / 1e6)
        finally:
            lab.stop()
    return [
        Figure("whistle to watchable behind 20 Mb/s (median of 3)", statistics.median(waits), "s", 8.0),
        Figure("  bit rate of that film", statistics.median(rates), "Mb/s"),
    ]


class SegmentKeeper:
    """Hard-links claimed segments as they come: the device deletes them once they are in the film."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.5):
            for path in self._root.glob("recordings/*/*/*.mp4"):
                cam = path.parent.name
                if cam in ("left", "right"):
                    self._keep(path, self._folder / path.parent.parent.name / cam / path.name)

    @staticmethod
    def _keep(path: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:
            return  # there already, or gone meanwhile

    def joined(self, cam: str, booking_id: str) -> Path:
        """All segments of a camera as one file."""
        folder = self._folder / booking_id
        target = folder / f"{cam}.mp4"
        join(sorted((folder / cam).glob("*.mp4")), target)
        return target
