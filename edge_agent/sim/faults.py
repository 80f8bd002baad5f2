"""What goes wrong, and when: drawn from the seed before the world begins to run."""

from collections.abc import Callable
from random import Random

from edge_agent.core.agent import SECOND_NS
from edge_agent.sim.court import Fault
from edge_agent.sim.court import Trouble as CameraTrouble
from edge_agent.sim.device import CAMERAS, Device, Mood
from edge_agent.sim.loop import MS_NS
from schemas.work import CameraName

HOUR_NS = 3600 * SECOND_NS
KINDS = ("kill", "broker", "power", "camera", "full", "bucket", "step", "store", "repeats")
RATES = {
    "kill": 16.0,
    "broker": 3.0,
    "power": 1.0,
    "camera": 6.0,
    "full": 1.0,
    "bucket": 4.0,
    "step": 1.0,
    "store": 8.0,
}
"""Of each, per hour of a world that has it."""


def draw_mood(lots: Random) -> Mood:
    """The kind of world: every kind of fault is in about six of ten."""
    return Mood(
        idle=lots.choice(("ring", "arm")),
        trouble=lots.choice((0.0, 0.01, 0.05)),
        rotten=lots.choice((0.0, 0.0, 0.004)),
        drop=lots.choice((0, 0, 10_000)),
        faults=frozenset(kind for kind in KINDS if lots.random() < (0.25 if kind == "step" else 0.6)),
    )


class Faults:
    """Puts the faults of a mood into a device's future."""

    def __init__(self, device: Device, until_ns: int) -> None:
        self.device = device
        self.until_ns = until_ns
        self.lots = device.loop.lots("faults")
        self.tickets = device.club.tickets.values()

    def plan(self) -> None:
        """Draw every fault."""
        makers: dict[str, Callable[[int], None]] = {
            "kill": self._kill,
            "broker": self._broker,
            "power": self._power,
            "camera": self._camera,
            "full": self._full,
            "bucket": self._bucket,
            "step": self._step,
            "store": self._store,
        }
        self.device.broker.repeats = 0.03 if "repeats" in self.device.mood.faults else 0.0
        for kind, make in makers.items():
            if kind not in self.device.mood.faults:
                continue
            count = RATES[kind] * self.until_ns / HOUR_NS
            whole = int(count) + (self.lots.random() < count % 1)
            for _ in range(whole):
                make(self._when())
        for camera in self.device.cameras.values():
            camera.faults.sort(key=lambda fault: fault.begin_ns)
            camera.faults = _apart(camera.faults)
        for cam in CAMERAS:
            for fault in self.device.cameras[cam].faults:
                self._tell(cam, fault)

    def _when(self) -> int:
        """A moment, mostly in or shortly after a booking."""
        if self.tickets and self.lots.random() < 0.8:
            ticket = self.lots.choice(list(self.tickets))
            moment = self.lots.randint(ticket.begin_ns - 5 * SECOND_NS, ticket.end_ns + 15 * SECOND_NS)
        else:
            moment = self.lots.randint(SECOND_NS, self.until_ns)
        return max(SECOND_NS, min(moment, self.until_ns)) // MS_NS * MS_NS

    def _kill(self, when_ns: int) -> None:
        device, lots = self.device, self.lots
        node = lots.choice(list(device.nodes.values()))
        back_ns = lots.randint(50, 3000) * MS_NS
        doom = lots.choice((None, lots.randint(1, 12)))
        device.loop.at(when_ns, lambda: device.kill(node, back_ns, doom))

    def _broker(self, when_ns: int) -> None:
        device, memory = self.device, self.lots.choice(("whole", "old", "empty"))
        back_ns = self.lots.randint(100, 8000) * MS_NS

        def stop() -> None:
            if device.powered and device.broker.up:
                device.loop.note("broker", f"stops, will have its memory {memory}")
                device.rows.disturbed(back_ns)
                device.broker.stop()
                device.loop.after(back_ns, start)

        def start() -> None:
            if device.powered and not device.broker.up:
                device.broker.start(memory)

        device.loop.at(when_ns, stop)

    def _power(self, when_ns: int) -> None:
        device, lots = self.device, self.lots
        off_ns = lots.randint(4, 40) * SECOND_NS
        lag_ns = lots.choice((0, 1, 1)) * (off_ns + lots.randint(0, 240_000) * MS_NS)
        unsynced_ns = lots.randint(4, 50) * SECOND_NS
        memory = lots.choice(("old", "empty"))

        def off() -> None:
            if device.powered:
                latest: dict[CameraName, dict[str, bool]] = {cam: self._latest(cam) for cam in CAMERAS}
                device.rows.disturbed(off_ns + unsynced_ns)
                device.power_off()
                self._judge_cut(latest)
                device.loop.after(off_ns, lambda: device.power_on(lag_ns, memory))
                device.loop.after(off_ns + unsynced_ns, device.sync_clock)

        device.loop.at(when_ns, off)

    def _latest(self, cam: CameraName) -> dict[str, bool]:
        """Recordings that run now and of which this camera must have all but the last 5 seconds."""
        device, now_ns = self.device, self.device.loop.now_ns
        node = device.nodes[f"camera_{cam}"]
        fine = node.core is not None and device.untouched(cam, now_ns - 12 * SECOND_NS, now_ns)
        return {
            ticket.id: fine and ticket.history[0][0] < now_ns - 8 * SECOND_NS
            for ticket in self.tickets
            if ticket.always_wanted
            and ticket.begin_ns < now_ns - 8 * SECOND_NS
            and device.judge.ends_ns(ticket) > now_ns
        }

    def _judge_cut(self, latest: dict[CameraName, dict[str, bool]]) -> None:
        device, now_ns = self.device, self.device.loop.now_ns
        for cam in CAMERAS:
            for booking_id, must in latest[cam].items():
                if must:
                    lost_ns = now_ns - device.judge.latest_on_disk(cam, booking_id)
                    text = (
                        f"a power cut cost {lost_ns / 1e9:.2f} s of camera {cam} in {booking_id}: at most 5"
                    )
                    device.judge.ensure(lost_ns <= 5 * SECOND_NS, text)

    def _camera(self, when_ns: int) -> None:
        kind: CameraTrouble = self.lots.choice(("stall", "stall", "absent", "exit"))
        longest = {"stall": 15_000, "absent": 40_000, "exit": 20}[kind]
        end_ns = when_ns + self.lots.randint(10, longest) * MS_NS
        self.device.cameras[self.lots.choice(CAMERAS)].faults.append(Fault(when_ns, end_ns, kind))

    def _tell(self, cam: CameraName, fault: Fault) -> None:
        def begin() -> None:
            self.device.loop.note(f"camera {cam}", fault.kind, (fault.end_ns - fault.begin_ns) / 1e9)
            drivers = self.device.capture.get(cam)
            if drivers is not None and drivers.alive:
                drivers.fault(fault)

        self.device.loop.at(fault.begin_ns, begin)

    def _full(self, when_ns: int) -> None:
        device, for_ns = self.device, self.lots.randint(2, 25) * SECOND_NS

        def begin() -> None:
            device.loop.note("disk", "full")
            device.rows.disturbed(for_ns)
            device.disk.full = True
            for cam in CAMERAS:
                device.touch(cam, for_ns + 20 * SECOND_NS, "full")
            device.loop.after(for_ns, end)

        def end() -> None:
            device.disk.full = False

        device.loop.at(when_ns, begin)

    def _bucket(self, when_ns: int) -> None:
        device, lots = self.device, self.lots
        what = lots.choice(("down", "denied", "slow", "vanish"))
        for_ns = lots.randint(2, 200) * SECOND_NS

        def begin() -> None:
            device.loop.note("bucket", what)
            if what == "vanish":
                device.bucket.uploads.clear()
            elif what == "slow":
                device.bucket.slow = 12
            else:
                device.bucket.trouble = what
            device.loop.after(for_ns, end)

        def end() -> None:
            device.bucket.slow = 1
            device.bucket.trouble = None

        device.loop.at(when_ns, begin)

    def _store(self, when_ns: int) -> None:
        device, lots = self.device, self.lots
        what = lots.choice(device.mood.store)
        for_ns = lots.choice((lots.randint(1, 30), lots.randint(30, 1200))) * SECOND_NS
        when_ns -= lots.randint(0, 60) * SECOND_NS

        def begin() -> None:
            device.loop.note("store", what)
            device.rows.disturbed(for_ns)
            device.store.trouble = what
            device.loop.after(for_ns, end)

        def end() -> None:
            device.loop.note("store", "well")
            device.store.trouble = None

        device.loop.at(when_ns, begin)

    def _step(self, when_ns: int) -> None:
        device = self.device
        by_ns = self.lots.choice((-1, 1)) * self.lots.randint(5, 1500) * MS_NS
        device.judge.slack_ns += abs(by_ns)

        def step() -> None:
            if device.clocks.synced:
                device.loop.note("clock", f"steps by {by_ns / 1e9:.3f}")
                device.clocks.error_ns += by_ns

        device.loop.at(when_ns, step)


def _apart(faults: list[Fault]) -> list[Fault]:
    """Faults that do not overlap."""
    kept: list[Fault] = []
    for fault in faults:
        if not kept or fault.begin_ns > kept[-1].end_ns + SECOND_NS:
            kept.append(fault)
    return kept
