"""All commands of ``ezrec``. Imports inside the commands keep ``--help`` quick."""

import typer

from edge_agent.cli import (
    bookings,
    checking,
    contract,
    develop,
    device,
    importing,
    install,
    keep,
    notify,
    people,
    show,
    store,
    tokens,
)

app = typer.Typer(
    name="ezrec",
    help="A recorder for sports courts: two cameras, one booking, one film, one link.",
    epilog="From a clone also: ./ezrec test (the suite), check (lint, types, layers), soak LANE (long runs).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("demo")(device.demo)
app.command("up")(device.up)
app.command("run")(device.run)
app.command("bridge")(device.bridge)
app.command("api")(device.api)
app.command("install")(install.install)
app.command("uninstall")(install.uninstall)
app.command("book")(bookings.book)
app.command("cancel")(bookings.cancel)
app.command("extend")(bookings.extend)
app.command("start")(bookings.start)
app.command("stop")(bookings.stop)
app.command("cut")(bookings.cut)
app.command("status")(show.status)
app.command("receipt")(show.receipt)
app.command("why")(show.why)
app.command("preflight")(checking.preflight)
app.command("doctor")(checking.doctor)
app.command("topics")(contract.topics)
app.add_typer(contract.config, name="config")
app.add_typer(contract.secret, name="secret")
app.add_typer(tokens.token, name="token")
app.add_typer(people.user, name="user")
app.add_typer(importing.importing, name="import")
app.add_typer(keep.keep, name="keep")
app.add_typer(notify.notify, name="notify")
app.add_typer(store.store, name="store")
app.command("replay")(develop.replay)
app.command("sim")(develop.sim)
app.command("bench")(develop.bench)
