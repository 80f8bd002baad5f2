"""``ezrec sim``: many seeds, one line for each that fails."""

import sys
import time
from collections import Counter

from edge_agent.sim.run import Report, run


def command(*, seeds: int, seed: int | None, hours: float, json: bool) -> int:
    """Run seeds 0 to ``seeds`` - 1, or one seed alone; progress and failures on stderr, the result on stdout.

    Returns 0 when every promise held, else 1.
    """
    began = time.monotonic()
    numbers = [seed] if seed is not None else list(range(seeds))
    reports: list[Report] = []
    for number in numbers:
        report = run(number, hours)
        reports.append(report)
        if not report.ok:
            _say(f"seed {report.seed} at {report.virtual_s:.3f} s: {report.violation}")
        elif len(numbers) > 1 and len(reports) % 10 == 0:
            _say(f"{len(reports)} of {len(numbers)} seeds")
        if seed is not None:
            _tell(report)
    failed = [report for report in reports if not report.ok]
    _conclude(reports, failed, time.monotonic() - began, json=json)
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _tell(report: Report) -> None:
    for line in report.trace:
        _say(f"  {line}")
    if report.fault:
        _say(report.fault)


def _conclude(reports: list[Report], failed: list[Report], took_s: float, *, json: bool) -> None:
    if json:
        sys.stdout.writelines(report.json() + "\n" for report in reports)
        return
    states: Counter[str] = Counter()
    for report in reports:
        states.update(report.states)
    days = sum(report.virtual_s for report in reports) / 86_400
    kinds = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    word = (
        "green"
        if not failed
        else f"red: {len(failed)} failed ({', '.join(str(r.seed) for r in failed[:10])})"
    )
    sys.stdout.write(
        f"{len(reports)} seeds, {days:.2f} device-days, {sum(r.bookings for r in reports)} bookings ({kinds})"
        f" in {took_s:.1f} s: {word}\n"
    )
