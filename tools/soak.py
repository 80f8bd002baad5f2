"""The long runs. `./ezrec soak LANE` writes its dated output to docs/reliability/ and prints it.

Lanes:
  whistle  bookings of 20 s, 2 min and 10 min: whistle to watchable does not grow with length
  drift    10 min with 200 ppm between the cameras and 1 % dropped frames, judged by the film's frame codes
  kills    recordings during which agents and the broker are killed with SIGKILL, one complete film each
  seeds    the simulator over many seeds
  bridge   the bridge beside a Supabase project (stand-in): row to message, idle, results of a time without it
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from edge_agent.app import agent_names, endpoint_of
from edge_agent.demo.lab import Lab, Plan
from edge_agent.demo.run import WATCHED, make_token, record_one, wait_ready
from edge_agent.runtime.client import Client
from edge_agent.sim import run as simulate
from tests.framecode import read_film
from tools.bounds import BROKEN, Lines, broken

TOP = Path(__file__).resolve().parent.parent
REPORTS = TOP / "docs" / "reliability"
FPS = 30
WATCHABLE_S, SKEW_MS, REPEATED, CAMERA_S = 4.0, 500 / FPS + 1, 0.05, 3.0
"""Bounds: whistle to watchable on loopback; p99 of the skew (half a frame and 1 ms); share of repeated pairs;
what the kill of a camera's agent may cost that camera."""


def say(text: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{text}\n")


def whistle(arguments: argparse.Namespace) -> Lines:
    """Whistle to watchable for three lengths, on loopback."""
    lines = [
        "| booking | state | whistle to watchable | machine | uplink | film |",
        "|---|---|---|---|---|---|",
    ]
    with _device({}) as (lab, client, token):
        for seconds in arguments.lengths or (20, 120, 600):
            got = record_one(client, lab, token, seconds, say)
            size = f"{got['film_bytes'] / 1e6:.1f} MB"
            times = f"{got['whistle_to_watchable_s']} s | {got['machine_s']} s | {got['uplink_s']} s"
            lines.append(f"| {seconds} s | {got['state']} | {times} | {size} |")
            lines += broken(f"{seconds} s", got["state"] == "ready", "ready")
            lines += broken(
                f"{seconds} s", got["whistle_to_watchable_s"] <= WATCHABLE_S, f"at most {WATCHABLE_S} s"
            )
    return sorted(lines, key=lambda line: line.startswith(BROKEN))


def drift(arguments: argparse.Namespace) -> Lines:
    """Skew of the halves, read from the film's frame codes."""
    seconds = (arguments.lengths or (600,))[0]
    scenarios = {
        "left": {"drift_ppm": 100, "drops": 0.01, "seed": 1},
        "right": {"drift_ppm": -100, "drops": 0.01, "seed": 2},
    }
    with _device(scenarios) as (lab, client, token):
        got = record_one(client, lab, token, seconds, say)
        intro = got["receipt"]["film"]["intro_frames"]
        frames = read_film(lab.folder / "film.mp4", "side_by_side")[intro:]
    pairs = [(left, right) for left, right in frames if left is not None and right is not None]
    skews = sorted(abs(left.mono_us - right.mono_us) / 1000 for left, right in pairs)
    numbers = [(left.frame, right.frame) for left, right in pairs]
    repeated = sum(1 for a, b in pairwise(numbers) if a == b)
    p99 = skews[int(len(skews) * 0.99)]
    skew = f"median {statistics.median(skews):.2f} ms, p99 {p99:.2f} ms, max {skews[-1]:.2f} ms"
    share = 100 * repeated / len(frames)
    return [
        f"- {seconds} s, 200 ppm between the cameras, 1 % of each one's frames dropped: {got['state']}",
        f"- frames after the intro: {len(frames)} (planned {seconds * FPS}), decoded pairs {len(pairs)}",
        f"- skew by frame codes: {skew} (half a frame is {500 / FPS:.2f} ms)",
        f"- repeated pairs: {repeated} seen ({share:.2f} %), {got['receipt']['repeated']} in the receipt",
        f"- receipt's skew: {got['receipt']['skew_ms']}",
        *broken("skew", p99 <= SKEW_MS, f"p99 at most {SKEW_MS:.2f} ms"),
        *broken("repeated", repeated <= REPEATED * len(frames), f"at most {100 * REPEATED:.0f} %"),
        *broken("frames", len(frames) == seconds * FPS, f"{seconds * FPS}"),
    ]


def kills(arguments: argparse.Namespace) -> Lines:
    """One complete film for every killed process."""
    rng = random.Random(arguments.seed)
    lines = ["| killed | state | frames after intro | lost by the killed camera | both shown |"]
    lines.append("|---|---|---|---|---|")
    seconds = (arguments.lengths or (14,))[0]
    with _device({}) as (lab, client, token):
        for victim in [*agent_names(lab.settings), "broker"] * arguments.rounds:
            killer = threading.Timer(6 + rng.random() * (seconds - 4), _kill, (lab, victim))
            killer.start()
            got = record_one(client, lab, token, seconds, say)
            killer.join()
            lines += _killed(victim, got, read_film(lab.folder / "film.mp4", "side_by_side"), seconds)
    return sorted(lines, key=lambda line: line.startswith(BROKEN))


def _killed(victim: str, got: Mapping[str, Any], frames: list[Any], seconds: int) -> Lines:
    receipt = got["receipt"]
    after = frames[receipt["film"]["intro_frames"] :]
    both = sum(1 for pair in after if None not in pair)
    camera = receipt["cameras"].get(victim.removeprefix("camera_"))
    lost_s = (camera["expected"] - camera["captured"]) / FPS if camera else 0.0
    row = f"| {victim} | {got['state']} | {len(after)} of {seconds * FPS} | {lost_s:.2f} s | {both} |"
    return [
        row,
        *broken(victim, len(after) == seconds * FPS, "every frame of the planned time"),
        *broken(victim, lost_s <= CAMERA_S, f"at most {CAMERA_S} s lost"),
        *broken(victim, camera is not None or both == seconds * FPS, "both cameras all the time"),
    ]


def seeds(arguments: argparse.Namespace) -> Lines:
    """The simulator over many seeds."""
    count = arguments.rounds * 100
    failed = [report for seed in range(count) if not (report := simulate(seed, 2.0)).ok]
    lines = [f"- {count} seeds of 2 h: {count - len(failed)} green"]
    return [*lines, *(f"{BROKEN} seed {report.seed}: {report}" for report in failed)]


def _bridge(_arguments: argparse.Namespace) -> Lines:
    from tools.soak_bridge import bridge  # noqa: PLC0415 - it needs PostgreSQL, the other lanes do not

    return bridge(say)


def _kill(lab: Lab, victim: str) -> None:
    pid = lab.broker.pid if victim == "broker" and lab.broker else lab.pid(victim)
    say(f"SIGKILL {victim} ({pid})")
    os.kill(pid, signal.SIGKILL)


class _device:  # noqa: N801 - reads as a word in a with statement
    """A lab with its client and token."""

    def __init__(self, scenarios: Mapping[str, dict[str, Any]]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ezrec-soak-")
        self._lab = Lab(Plan(folder=Path(self._folder.name), scenarios=dict(scenarios)))
        self._client: Client | None = None

    def __enter__(self) -> tuple[Lab, Client, str]:
        self._lab.start()
        token = make_token(self._lab)
        self._client = Client(endpoint_of(self._lab.settings, "cli"), self._lab.plan.device, WATCHED)
        client = self._client.__enter__()
        wait_ready(client, self._lab)
        return self._lab, client, token

    def __exit__(self, *_what: object) -> None:
        if self._client is not None:
            self._client.__exit__(None, None, None)
        self._lab.stop()
        self._folder.cleanup()


LANES: Mapping[str, Callable[[argparse.Namespace], Lines]] = {
    "whistle": whistle,
    "drift": drift,
    "kills": kills,
    "seeds": seeds,
    "bridge": _bridge,
}


def main() -> int:
    """Run a lane; returns 0 when it came to its end and every bound was held, else 1."""
    parser = argparse.ArgumentParser(
        prog="ezrec soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lane", choices=sorted(LANES))
    parser.add_argument(
        "--lengths", type=int, nargs="*", help="seconds of the bookings, instead of the lane's own"
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often the lane goes round (kills, seeds)")
    parser.add_argument("--seed", type=int, default=1, help="seed of what is random (kills)")
    parser.add_argument("--no-report", action="store_true", help="print only, write no file")
    arguments = parser.parse_args()
    began = datetime.now(UTC)
    lines = LANES[arguments.lane](arguments)
    took_s = (datetime.now(UTC) - began).total_seconds()
    head = [
        f"# {arguments.lane}, {began:%Y-%m-%d}",
        "",
        f"`./ezrec soak {' '.join(sys.argv[1:])}` on {os.cpu_count()} cores, {took_s:.0f} s.",
        "",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    sys.stdout.write(text)
    if not arguments.no_report:
        REPORTS.mkdir(parents=True, exist_ok=True)
        (REPORTS / f"{began:%Y-%m-%d}-{arguments.lane}.md").write_text(text, encoding="utf-8")
    return 1 if any(line.startswith(BROKEN) for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
