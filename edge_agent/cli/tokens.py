"""Keys for programs that use the HTTP API."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from edge_agent.cli.common import ConfigOption, fail, out, read_settings

if TYPE_CHECKING:
    from cloud_bridge.stores.base import Role

token = typer.Typer(help="Keys for programs that use the HTTP API.", no_args_is_help=True)
ROLES = ("admin", "operator", "user")


@token.command("create")
def create(
    role: Annotated[str, typer.Option(metavar="admin|operator|user", help="What it may do.")],
    user: Annotated[str, typer.Option(metavar="U", help="Whose it is.")],
    config: ConfigOption = None,
) -> None:
    """Make a key and print it once; only its hash is kept."""
    from cloud_bridge.stores import StoreError, open_store

    if role not in ROLES:
        fail(f"--role {role}: expected one of {', '.join(ROLES)}", 2)
    try:
        store = open_store(read_settings(config))
        known = cast("Role", role)  # pyright: ignore[reportUnnecessaryCast] - mypy does not narrow by `in`
        out(store.make_token(known, user))
        store.close()
    except (StoreError, OSError) as error:
        fail(f"token create: {error}")


@token.command("revoke")
def revoke(
    user: Annotated[str, typer.Option(metavar="U", help="Whose keys end.")], config: ConfigOption = None
) -> None:
    """End all keys of a user."""
    from cloud_bridge.stores import StoreError, open_store

    try:
        store = open_store(read_settings(config))
        out(f"{store.revoke_tokens(user)} keys ended")
        store.close()
    except (StoreError, OSError) as error:
        fail(f"token revoke: {error}")
