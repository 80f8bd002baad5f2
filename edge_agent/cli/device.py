"""Running a device: the demo, the supervisor, single agents, the bridge, the API."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.common import ConfigOption, fail, need_programs, read_settings, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.core.settings import Settings
    from edge_agent.supervisor import Entry


def demo(
    seconds: Annotated[int, typer.Option(min=1, max=14400, help="How long the court is booked.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    stay: Annotated[bool, typer.Option(help="Keep everything running until Ctrl-C.")] = False,
    dir: Annotated[Path | None, typer.Option(metavar="D", help="Keep everything below this folder.")] = None,
    store: Annotated[str, typer.Option(metavar="s3|dir", help="Where the film goes.")] = "s3",
    camera: Annotated[
        list[str] | None, typer.Option(metavar="NAME=URL", help="A stream or file as camera left or right.")
    ] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of each camera.")] = "1280x720",
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames per second.")] = 30,
) -> None:
    """Record one booking on this machine, from two cameras to a link. Needs no account anywhere."""
    from edge_agent.demo.child import ServerError
    from edge_agent.demo.run import DemoFailed, Options
    from edge_agent.demo.run import run as run_demo
    from edge_agent.runtime.client import NoAnswer, NoBroker
    from edge_agent.runtime.settings import SettingsError

    if store not in ("s3", "dir"):
        fail(f"--store {store}: expected s3 or dir", 2)
    need_programs("ffmpeg")
    width, height = parse_size(size)
    options = Options(
        seconds=seconds,
        as_json=json,
        stay=stay,
        folder=dir,
        store=store,
        cameras=parse_cameras(camera or []),
        width=width,
        height=height,
        fps=fps,
    )
    try:
        code = run_demo(options, say)
    except SettingsError as error:
        fail(str(error), 78)
    except (DemoFailed, ServerError, NoBroker, NoAnswer, OSError) as error:
        fail(f"demo: {error}")
    raise typer.Exit(code)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from ``WxH``, or one line and exit 2."""
    width, _, height = text.lower().partition("x")
    known = all(side.isascii() and side.isdigit() and len(side) <= 4 for side in (width, height))
    if not known or int(width) % 2 or int(height) % 2 or int(width) < 64 or int(height) < 36:
        fail(f"--size {text}: expected even numbers like 1280x720", 2)
    return int(width), int(height)


def parse_cameras(texts: list[str]) -> dict[str, str]:
    """Name and address of every ``NAME=URL``, or one line and exit 2."""
    cameras: dict[str, str] = {}
    for text in texts:
        name, _, url = text.partition("=")
        if name not in ("left", "right") or not url:
            fail(f"--camera {text}: expected left=URL or right=URL", 2)
        if "://" not in url:
            path = Path(url).resolve()
            if not path.is_file():
                fail(f"--camera {text}: no such file, an address or a video file was expected", 2)
            url = str(path)
        cameras[name] = url
    return cameras


def up(config: ConfigOption = None) -> None:
    """Run everything the settings name, supervised, until Ctrl-C."""
    from functools import partial

    from cloud_bridge.notify.run import run_notify, sends_here
    from edge_agent.app import agent_names, run_agent, run_api, run_keeper
    from edge_agent.runtime.secret_files import THE_STORES
    from edge_agent.supervisor import Entry, Supervisor

    settings = read_settings(config, THE_STORES)
    need_programs("ffmpeg")
    entries = [_entry(name, config, partial(run_agent, name), settings) for name in agent_names(settings)]
    entries.append(Entry("api", partial(_with_key, config, run_api)))
    if settings.bookings.kind == "sqlite":  # else a cloud side keeps, with a key that no device has
        entries.append(Entry("keeper", partial(run_keeper, settings)))
    if sends_here(settings):
        entries.append(Entry("notify", partial(_with_key, config, run_notify)))
    pids = Path(settings.storage.root) / "state" / "run"
    try:
        pids.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"up: {pids}: cannot be made ({error.strerror}); storage.root names where everything is kept")
    raise typer.Exit(Supervisor(entries, pids).run())


def _entry(name: str, config: Path | None, run: "Callable[[Settings], int]", settings: "Settings") -> "Entry":
    """An agent to be supervised; only the bridge has the booking system's key, read in its own process."""
    from functools import partial

    from edge_agent.supervisor import Entry

    return Entry(name, partial(_with_key, config, run) if name == "bridge" else partial(run, settings))


def _with_key(config: Path | None, run: "Callable[[Settings], int]") -> int:
    return run(read_settings(config))


def run(
    agents: Annotated[list[str], typer.Argument(metavar="AGENT...", help="camera_left, merger, ...")],
    config: ConfigOption = None,
) -> None:
    """Run one agent in this process, or several supervised."""
    from functools import partial

    from edge_agent.app import agent_names, run_agent
    from edge_agent.runtime.secret_files import THE_STORES
    from edge_agent.supervisor import Supervisor

    settings = read_settings(config, THE_STORES)
    known = agent_names(settings)
    for name in agents:
        if name not in known:
            fail(f"{name}: no such agent, expected one of {', '.join(known)}", 2)
    if "processor" in agents:
        need_programs("ffmpeg")
    if len(agents) == 1:
        own = read_settings(config) if agents[0] == "bridge" else settings
        raise typer.Exit(run_agent(agents[0], own))
    entries = [_entry(name, config, partial(run_agent, name), settings) for name in agents]
    raise typer.Exit(Supervisor(entries).run())


def bridge(config: ConfigOption = None) -> None:
    """Run the bridge between bookings and the bus."""
    from edge_agent.app import run_agent

    raise typer.Exit(run_agent("bridge", read_settings(config)))


def api(config: ConfigOption = None) -> None:
    """Serve links and the HTTP API."""
    from edge_agent.app import run_api

    raise typer.Exit(run_api(read_settings(config)))
