"""What is wrong on this machine, found without any agent: each finding with what to do."""

import shutil
import socket
import stat
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.core.device import GIB
from edge_agent.core.settings import Settings
from edge_agent.drivers.objects import StoreError
from edge_agent.drivers.upload_effects import store_of
from edge_agent.runtime.clock import kernel_synced

PROBE = b"\0" * 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``mend`` says what to do; None: it is well."""

    what: str
    text: str
    mend: str | None = None


def examined(settings: Settings) -> Iterator[Finding]:
    """Everything that needs no broker. Writes and removes a file of 1 MiB in each folder it tries."""
    yield ffmpeg()
    yield clock()
    yield _folder("storage", Path(settings.storage.root), "storage.root", GIB)
    yield _folder("ring", Path(settings.storage.ring), "storage.ring", 0)
    yield _bucket(settings)
    yield _secrets(settings)
    yield _port(settings)


def ffmpeg() -> Finding:
    """Whether what renders is installed."""
    found = shutil.which("ffmpeg")
    if found is None:
        return Finding("ffmpeg", "not installed, or not on PATH", "install the Debian package ffmpeg")
    return Finding("ffmpeg", found)


def clock() -> Finding:
    """Whether the kernel says the clock is synchronised."""
    if kernel_synced():
        return Finding("clock", "synchronised")
    return Finding("clock", "not synchronised", "check the network and the time service (timedatectl)")


def _folder(what: str, folder: Path, key: str, least: int) -> Finding:
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(PROBE)
            file.flush()
        free = shutil.disk_usage(place).free
    except OSError as error:
        cure = f"make room there, or give this user the right to write, or correct {key}"
        return Finding(what, f"{place}: cannot be written ({error.strerror})", cure)
    if free < least:
        return Finding(what, f"{place}: {free / GIB:.1f} GiB free", "make room, or put in a larger disk")
    return Finding(what, f"{folder}: writable, {free / GIB:.1f} GiB free")


def _bucket(settings: Settings) -> Finding:
    """Begins an upload and drops it: what a device's key has to be allowed; nothing stays behind."""
    store = settings.store
    where = store.bucket if store.kind == "s3" else "folder"
    key = f"{settings.device.org}/{settings.device.id}/ezrec-check.txt"
    try:
        bucket = store_of(settings)
        try:
            bucket.abort(key, bucket.create(key, "text/plain"))
        finally:
            bucket.close()
    except StoreError as error:
        if error.kind == "transient":
            cure = "check this device's internet connection and store.endpoint"
        else:
            cure = "check store.bucket, store.key and store.secret, and the rights of that key"
        return Finding("bucket", error.text, cure)
    except OSError as error:
        return Finding("bucket", f"{error.filename}: {error.strerror}", "correct store.folder or its rights")
    return Finding("bucket", f"{where} takes uploads")


def _secrets(settings: Settings) -> Finding:
    if not settings.mqtt.passwords:
        return Finding("secrets", "no files of their own")
    folder = Path(settings.mqtt.passwords)
    try:
        files = [file for file in sorted(folder.iterdir()) if file.is_file()]
        exposed = [file for file in files if stat.S_IMODE(file.stat().st_mode) & 0o007]
    except OSError as error:
        cure = "run this as root, or correct mqtt.passwords"
        return Finding("secrets", f"{folder}: cannot be read ({error.strerror})", cure)
    if exposed:
        names = ", ".join(file.name for file in exposed)
        return Finding("secrets", f"everybody here can read {names}", f"chmod o= the files in {folder}")
    return Finding("secrets", f"{len(files)} files in {folder}, private")


def _port(settings: Settings) -> Finding:
    host, port = settings.api.host, settings.api.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            text = error.strerror
        else:
            return Finding("api", f"port {port} is free; the API does not run here")
    asked = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    try:
        with urllib.request.urlopen(f"http://{asked}:{port}/healthz", timeout=5) as answer:
            ours = answer.status == 200 and answer.read(16) == b"ok\n"
    except (OSError, ValueError):
        ours = False
    if ours:
        return Finding("api", f"answers at port {port}")
    cure = "end what holds it, or set api.host and api.port"
    return Finding("api", f"port {port} of {host} is not ours ({text})", cure)
