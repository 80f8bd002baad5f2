"""For those who build and prove it: replay, simulator, bench."""

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, fail, out, read_settings, say


def replay(
    journal: Annotated[Path, typer.Argument(help="A journal file of an agent.")],
    agent: Annotated[str, typer.Option(help="The agent it is of, e.g. merger.")],
    config: ConfigOption = None,
) -> None:
    """Run a journal through an agent's decisions again and compare every effect."""
    from edge_agent.app import NoSuchAgent, build
    from edge_agent.runtime.journal import replay as lines

    settings = read_settings(config)
    try:
        value, drivers = build(agent, settings)
        drivers.close()
        count = 0
        for number, written, now in lines(journal, value, settings):
            count += 1
            if written != now:
                fail(f"{journal.name}:{number} differs\n  written {written[:400]}\n  now     {now[:400]}")
    except (NoSuchAgent, OSError, ValueError) as error:
        fail(f"replay: {error}")
    out(f"{count} events, every effect as written")


def sim(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 50,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
    hours: Annotated[float, typer.Option(help="Simulated hours per seed.")] = 2.0,
    json: JsonOption = False,
) -> None:
    """Run the whole device in a faulty world and hold it to its promises."""
    from edge_agent.sim import command

    raise typer.Exit(command(seeds=seeds, seed=seed, hours=hours, json=json))


def bench(
    seconds: Annotated[int, typer.Option(min=20, help="Length of the measured booking.")] = 60,
    json: JsonOption = False,
) -> None:
    """Measure the README's figures on this machine, beside the sequential way."""
    from edge_agent.bench import run as run_bench

    raise typer.Exit(run_bench(seconds, as_json=json, say=say, out=out))
