"""Who is told: films to players, trouble to those who look after the court."""

import os
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, fail, out, out_json, read_settings

if TYPE_CHECKING:
    from cloud_bridge.stores.messages import Channel, MessageStore, Recipient
    from edge_agent.core.settings import Settings

notify = typer.Typer(help="Who is told of films and of trouble.", no_args_is_help=True)
AddressArgument = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="An e-mail address, or a webhook's https address.")
]
DeviceOption = Annotated[str | None, typer.Option(metavar="D", help="Of this device; by default our own.")]


@notify.command("run")
def run(
    all: Annotated[
        bool, typer.Option("--all", help="For all devices of the project: the cloud side.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Send messages until Ctrl-C. `ezrec up` does it where bookings are kept on the device."""
    from cloud_bridge.notify.run import run_notify

    settings = read_settings(config)
    if all and settings.bookings.kind == "sqlite":
        fail("notify run: --all is for bookings.kind 'supabase': bookings here are of one device", 2)
    code = run_notify(settings, everywhere=all)
    # A thread that waits for a mail server which hangs would keep the process until it is cut off.
    os._exit(code)


@notify.command("test")
def send_test(
    to: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Only there; else everybody.")] = None,
    config: ConfigOption = None,
) -> None:
    """Send a test message now, and say of each what happened. Exit 1 when one did not go."""
    from cloud_bridge.notify.run import transports_of
    from cloud_bridge.notify.spread import listeners
    from cloud_bridge.notify.trial import try_out
    from cloud_bridge.stores.base import StoreError
    from cloud_bridge.stores.messages import Recipient
    from edge_agent.runtime.clock import SystemClock

    settings = read_settings(config)
    device, language = settings.device.id, settings.notify.language
    if to is not None:
        everybody: tuple[Recipient, ...] = (Recipient(device, *_address(to), (), language),)
    else:
        try:
            with closing(_open(settings)) as store:
                everybody = listeners(device, store.recipients(device), settings)
        except StoreError as error:
            fail(f"notify test: {error.text}")
    if not everybody:
        fail("notify test: nobody is told yet: set notify.emails, or see `ezrec notify add --help`")
    failed = 0
    for recipient, why in try_out(settings, everybody, transports_of(settings), SystemClock()):
        out(f"{recipient.address}: {'sent' if why is None else f'not sent: {why}'}")
        failed += why is not None
    if failed:
        raise typer.Exit(1)


@notify.command("add")
def add(
    address: AddressArgument,
    kind: Annotated[list[str] | None, typer.Option(metavar="K", help="Only of this kind; repeat it.")] = None,
    language: Annotated[str | None, typer.Option(metavar="en|de|es", help="Of the texts.")] = None,
    quiet: Annotated[
        str | None, typer.Option(metavar="HH:MM-HH:MM", help="Only critical alarms in these hours.")
    ] = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell somebody of trouble, or change what they are told."""
    from cloud_bridge.stores.base import StoreError
    from cloud_bridge.stores.messages import Recipient
    from edge_agent.core.addresses import bad_quiet
    from edge_agent.core.settings import Language, NoticeKind

    settings = read_settings(config)
    channel, plain = _address(address)
    unknown = [one for one in kind or () if one not in get_args(NoticeKind)]
    if unknown:
        fail(f"--kind {unknown[0]}: expected one of {', '.join(get_args(NoticeKind))}", 2)
    if language is not None and language not in get_args(Language):
        fail(f"--language {language}: expected one of {', '.join(get_args(Language))}", 2)
    if quiet is not None and bad_quiet(quiet):
        fail(f"--quiet {quiet}: {bad_quiet(quiet)}", 2)
    recipient = Recipient(
        device or settings.device.id,
        channel,
        plain,
        tuple(kind or ()),
        language or settings.notify.language,
        quiet,
    )
    try:
        with closing(_open(settings)) as store:
            store.set_recipient(recipient)
    except StoreError as error:
        fail(f"notify add: {error.text}")
    out(_line(recipient))


@notify.command("list")
def list_(device: DeviceOption = None, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Everybody who is told about the device: those of the settings, then those added here."""
    from cloud_bridge.notify.spread import listeners
    from cloud_bridge.stores.base import StoreError

    settings = read_settings(config)
    name = device or settings.device.id
    try:
        with closing(_open(settings)) as store:
            everybody = listeners(name, store.recipients(name), settings)
    except StoreError as error:
        fail(f"notify list: {error.text}")
    if json:
        out_json({"recipients": [vars(one) for one in everybody]})
        return
    for one in everybody:
        out(_line(one))
    if not everybody:
        out("nobody is told yet")


@notify.command("remove")
def remove(address: AddressArgument, device: DeviceOption = None, config: ConfigOption = None) -> None:
    """Tell somebody no more. Those of the settings go by a change of the settings."""
    from cloud_bridge.stores.base import StoreError

    settings = read_settings(config)
    channel, plain = _address(address)
    try:
        with closing(_open(settings)) as store:
            there = store.remove_recipient(device or settings.device.id, channel, plain)
    except StoreError as error:
        fail(f"notify remove: {error.text}")
    if not there:
        fail(f"notify remove: {plain} was not added here (`ezrec notify list`)")
    out(f"{plain} is told no more")


@notify.command("log")
def log(
    days: Annotated[int, typer.Option(min=1, max=365, help="How far back.")] = 7,
    device: DeviceOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Messages of the last days: to whom, whether they went, and why not."""
    from datetime import timedelta

    from cloud_bridge.stores.base import StoreError
    from edge_agent.runtime.clock import SystemClock
    from schemas.base import utc_text

    settings = read_settings(config)
    since = utc_text(SystemClock().wall() - timedelta(days=days))
    try:
        with closing(_open(settings)) as store:
            told = store.told(device or settings.device.id, None, since)
    except StoreError as error:
        fail(f"notify log: {error.text}")
    if json:
        out_json({"messages": [{k: v for k, v in vars(one).items() if k != "data"} for one in told]})
        return
    for one in told:
        why = f": {one.why}" if one.why else ""
        state = "given up" if one.state == "given_up" else one.state
        out(f"{one.at} {one.kind} {one.subject} to {one.recipient}: {state}{why}")
    if not told:
        out("no messages")


def _address(text: str) -> tuple["Channel", str]:
    from edge_agent.core.addresses import bad_url, plain_address

    if "://" in text:
        wrong = bad_url(text)
        if wrong is not None:
            fail(f"that webhook: {wrong}", 2)
        return "webhook", text
    plain = plain_address(text)
    if plain is None:
        fail(f"{text}: expected an e-mail address, or an https address of a webhook", 2)
    return "email", plain


def _open(settings: "Settings") -> "MessageStore":
    from cloud_bridge.stores import StoreError, open_messages

    try:
        return open_messages(settings)
    except StoreError as error:
        fail(f"notify: {error.text}")


def _line(one: "Recipient") -> str:
    kinds = ", ".join(one.kinds) if one.kinds else "trouble"
    quiet = f", quiet {one.quiet}" if one.quiet else ""
    return f"{one.channel} {one.address}: {kinds} ({one.language}{quiet})"
