"""Taking films out of the bucket when their time is over, and the account of what went."""

from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, fail, out, out_json, read_settings

if TYPE_CHECKING:
    from cloud_bridge.keeper import Round
    from cloud_bridge.stores.keeping import KeepingStore, Removal
    from cloud_bridge.stores.media import UserMediaStore
    from edge_agent.core.settings import Settings

keep = typer.Typer(help="What is past its time in the bucket, and the account of it.", no_args_is_help=True)


@keep.command("run")
def run(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go; touch nothing.")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Go on, about every hour, until Ctrl-C.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Remove from the bucket what is past its time. Exit 1 when something could not be removed."""
    from cloud_bridge.keeper import Keeper, kept_bucket
    from cloud_bridge.objects.client import BucketError
    from cloud_bridge.stores import StoreError
    from edge_agent.app import run_keeper

    settings = read_settings(config)
    if stay and (dry_run or json):
        fail("keep run: --stay goes with neither --dry-run nor --json", 2)
    if stay:
        raise typer.Exit(run_keeper(settings))
    try:
        with (
            closing(_open(settings)) as store,
            closing(kept_bucket(settings)) as bucket,
            _media(settings) as media,
        ):
            done = Keeper(store, bucket, settings, media=media).round(dry_run=dry_run)
    except (StoreError, BucketError) as error:
        fail(f"keep run: {error.text}")
    _show_round(done, dry_run=dry_run, json=json)
    if done.refused or done.later:
        raise typer.Exit(1)


def _show_round(done: "Round", *, dry_run: bool, json: bool) -> None:
    from schemas.base import utc_text

    if json:
        out_json(
            {
                "dry_run": dry_run,
                "removed": [vars(one) for one in done.removed],
                "aborted": [{"key": one.key, "started": utc_text(one.started)} for one in done.aborted],
                "refused": done.refused,
                "later": done.later,
                "odd": done.odd,
                "pruned": done.pruned,
                "assets": done.assets,
            }
        )
        return
    verb = "would remove" if dry_run else "removed"
    for one in done.removed:
        out(f"{verb} {_line(one)}")
    for key in done.assets:
        out(f"{verb} {key}: nobody names it any more")
    for upload in done.aborted:
        out(f"{'would abort' if dry_run else 'aborted'} an upload of {upload.key}")
    for table, count in done.pruned.items():
        out(f"pruned {count} rows of {table}")
    for line in (*done.refused, *done.later, *done.odd):
        out(f"not removed: {line}")
    if not (done.removed or done.assets or done.aborted or done.refused or done.later or done.odd):
        out("nothing is past its time")


@keep.command("account")
def account(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """What was removed from the bucket: when, which key, how many bytes, why."""
    from cloud_bridge.stores import StoreError

    try:
        with closing(_open(read_settings(config))) as store:
            found = store.removals(limit, None)
    except StoreError as error:
        fail(f"keep account: {error.text}")
    if json:
        out_json({"removed": [vars(one) for one in found]})
        return
    for one in found:
        out(f"{one.at} {_line(one)}")
    if not found:
        out("nothing was removed yet")


@keep.command("remove")
def remove(
    booking: Annotated[str, typer.Argument(metavar="ID", help="The booking whose film must go.")],
    why: Annotated[str, typer.Option(metavar="REASON", help="For the account.")] = "taken down",
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Whose, where several have a booking of that id.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Have a booking's film, and those of its cuts, removed with the next round."""
    from cloud_bridge.stores import StoreError

    try:
        with closing(_open(read_settings(config))) as store:
            ids = store.order_removal(booking, " ".join(why.split())[:200] or "taken down", device)
    except StoreError as error:
        fail(f"keep remove: {error.text}")
    out(f"will go with the next round: {', '.join(ids)} ('ezrec keep run' does one now)")


def _open(settings: "Settings") -> "KeepingStore":
    from cloud_bridge.stores import StoreError, open_keeping

    try:
        return open_keeping(settings)
    except StoreError as error:
        fail(f"keep: {error.text}")


def _media(settings: "Settings") -> "AbstractContextManager[UserMediaStore | None]":
    from cloud_bridge.stores.opening import open_media

    media = open_media(settings)
    return closing(media) if media is not None else nullcontext()


def _line(one: "Removal") -> str:
    size = "was gone already" if one.bytes is None else f"{one.bytes} bytes"
    return f"{one.key} ({one.why}): {size}"
