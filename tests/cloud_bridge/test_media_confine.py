"""What the worker cannot do, tried from inside; and what is said where a system refuses a part of it."""

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.media.confine import _ARCHITECTURES
from tests.support import uploads

ROOT = Path(__file__).resolve().parents[2]
UNSHARE = {"x86_64": 272, "aarch64": 97}[platform.machine()]
SETPRIORITY = {"x86_64": 141, "aarch64": 140}[platform.machine()]
LANDLOCK = 444

INSIDE = """
import json, os, resource, socket, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from cloud_bridge.media.bounds import Bounds
from cloud_bridge.media.confine import confine
secret, port = Path(sys.argv[2]), int(sys.argv[3])
readable = ("/usr", "/lib", "/lib64", sys.base_prefix, sys.argv[1])
said = {"open": confine(Bounds(memory_bytes=400 << 20), readable)}

def tried(name, work):
    try:
        said[name] = repr(work())
    except BaseException as error:
        said[name] = type(error).__name__

tried("tcp", lambda: socket.socket().connect(("127.0.0.1", port)))
tried("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)))
tried("unix", lambda: socket.socket(socket.AF_UNIX))
tried("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
tried("read a key", secret.read_text)
tried("read passwords", lambda: Path("/etc/passwd").read_text())
tried("read environments", lambda: Path("/proc/1/environ").read_bytes())
tried("list", lambda: os.listdir(secret.parent))
tried("write beside", lambda: secret.with_name("new").write_text("x"))
tried("write here", lambda: Path("here").write_text("x"))
tried("remove", secret.unlink)
tried("signal", lambda: os.kill(os.getppid(), 0))
tried("memory", lambda: len(bytearray(500 << 20)))
tried("files", lambda: [open("here") for _ in range(100)])
said["uid"] = os.geteuid()
said["environment"] = dict(os.environ)
said["descriptors"] = sorted(int(n) for n in range(50) if n > 2 and os.path.exists(f"/dev/fd/{n}"))
said["core"] = resource.getrlimit(resource.RLIMIT_CORE)[1]
print(json.dumps(said))
"""


def inside(tmp_path: Path, port: int) -> dict[str, Any]:
    secret = tmp_path / "home" / "key"
    secret.parent.mkdir()
    secret.write_text("sesame")
    job = tmp_path / "job"
    job.mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", INSIDE, str(ROOT), str(secret), str(port)],
        cwd=job, env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert secret.read_text() == "sesame"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_from_inside_there_is_no_network_no_key_and_no_other_file(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = inside(tmp_path, server.getsockname()[1])
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert said["open"] == {}
    refused = {name for name, what in said.items() if what in ("PermissionError", "OSError", "MemoryError")}
    assert refused >= {
        "tcp", "udp", "unix", "netlink", "read a key", "read passwords", "read environments", "list",
        "write beside", "remove", "memory", "files",
    }, said  # fmt: skip
    assert said["write here"] == "1"
    assert said["environment"] in ({}, {"LC_CTYPE": "C.UTF-8"})
    assert said["core"] == 0
    if os.geteuid() == 0:
        assert said["uid"] == 65534
        assert said["signal"] == "PermissionError"


WITHOUT = """
import json, sys
from pathlib import Path
from cloud_bridge.media.bounds import Bounds
from cloud_bridge.media.confine import _prctl, refuse_calls
from cloud_bridge.media.sandbox import look_at
_prctl(38, 1)
refuse_calls(int(sys.argv[2]), [int(number) for number in sys.argv[3:]])
print(json.dumps(look_at(Path(sys.argv[1]), "picture", Bounds())))
"""


@pytest.mark.parametrize(
    ("refused", "named"), [([UNSHARE, SETPRIORITY], {"network"}), ([UNSHARE, LANDLOCK], {"network", "files"})]
)
def test_where_a_system_refuses_a_part_the_rest_holds_and_it_is_said(
    tmp_path: Path, refused: list[int], named: set[str]
) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "in").write_bytes(uploads.picture())
    architecture = _ARCHITECTURES[platform.machine()][0]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(job), str(architecture), *map(str, refused)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["made"]["width"] == 400
    assert set(answer["open"]) == named
    assert all(answer["open"].values())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else to try it")
def test_it_works_for_an_account_without_rights_too(open_folder: Path) -> None:
    script = WITHOUT.replace("_prctl(38, 1)\n", "").replace(
        "refuse_calls(int(sys.argv[2]), [int(number) for number in sys.argv[3:]])\n", ""
    )
    job = open_folder / "job"
    job.mkdir()
    (job / "in").write_bytes(uploads.picture())
    for place in (job, job / "in"):
        os.chown(place, 12345, 12345)
    pythons = [Path(sys.base_prefix) / "bin" / "python3", Path("/usr/bin/python3")]
    python = next((one for one in pythons if _everybody_reaches(one)), None)
    if python is None or not _everybody_reaches(ROOT / "cloud_bridge"):
        pytest.skip("Python or this tree lies where only root can read it")
    somebody = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    done = subprocess.run(
        [*somebody, str(python), "-c", script, str(job)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["made"]["width"] == 400
    assert "files" not in answer["open"]


def _everybody_reaches(place: Path) -> bool:
    return place.exists() and all(folder.stat().st_mode & 0o001 for folder in place.resolve().parents)
