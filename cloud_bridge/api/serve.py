"""The HTTP side as a process."""

import logging
import signal
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from cloud_bridge.api.app import create_app
from cloud_bridge.api.context import Beside, Context
from cloud_bridge.stores.base import Store
from edge_agent.core.settings import Settings

GRACE_S = 5


class Server(uvicorn.Server):
    """A server whose endless answers end with it."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        """See `uvicorn.Server`."""
        super().__init__(config)
        self._context = cast("Context", app.state.context)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._context.feed.close()
        super().handle_exit(sig, frame)


def serve(settings: Settings, store: Store, beside: Beside | None = None) -> None:
    """Serve on ``settings.api.host`` and ``port`` until SIGTERM or SIGINT; closes all it was given.

    Only in a process's main thread. Requests under way get 5 s to end. Addresses are never logged:
    a link is a secret.

    Raises:
        SystemExit: the address is taken (uvicorn says so in the log).
    """
    app = create_app(settings, store, beside=beside)
    api = settings.api
    server = Server(config_of(app, api.host, api.port, api.trusted_proxies), app)

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn raises the signal again when it has ended; to be killed by it then would skip what is below.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        server.run()
    finally:
        more = beside or Beside()
        for one in (store, more.people, more.audit, more.uploads, more.claims, more.tokens):
            if one is not None:
                one.close()


def config_of(app: FastAPI, host: str, port: int, proxies: tuple[str, ...] = ()) -> uvicorn.Config:
    """How the server runs: quiet, and blind to who asked for which link.

    Of ``proxies`` the headers ``X-Forwarded-For`` and ``-Proto`` are believed, of nobody else.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # `access_log=False` is lost as soon as somebody gives that logger a handler; this is not.
    logging.getLogger("uvicorn.access").disabled = True
    return config
