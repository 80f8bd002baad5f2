"""Taking everything from this process that it does not need, for good, before it looks at a stranger's file.

Linux, by its own calls; standard library only: the worker runs it. Each measure stands alone: what a kernel
or a container refuses is named in the answer, and the others hold.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cloud_bridge.media.bounds import Bounds

_NOBODY = 65534
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_PATH_BENEATH = 1
# Landlock's first version has 13 rights; these three are what a program needs to read and run others.
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_ALL_RIGHTS = (1 << 13) - 1
# Of each architecture: its name for seccomp, and the numbers of socket, socketpair, connect, io_uring_setup,
# ptrace and process_vm_writev there.
_ARCHITECTURES: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (41, 53, 42, 425, 101, 311)),
    "aarch64": (0xC00000B7, (198, 199, 203, 425, 117, 271)),
}
_libc = ctypes.CDLL(None, use_errno=True)


def confine(bounds: Bounds, readable: Iterable[str]) -> dict[str, str]:
    """Give up the network, files, rights and most of the machine; what was refused, by measure, with why.

    The working folder is the one that can be written, ``readable`` are folders and files that can be read and
    run. From here on this process ends with its parent.

    Raises:
        OSError: the limits cannot be set: without them nothing is looked at.
    """
    parent = os.getppid()
    with contextlib.suppress(OSError):  # a service's sandbox may forbid it
        os.nice(15)
    _limit(bounds)
    refused: dict[str, str] = {}
    measures: tuple[tuple[str, Callable[[], None]], ...] = (
        ("network", _leave_network),
        ("account", _leave_root),
        ("rights", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        ("files", lambda: _leave_files(readable)),
        ("sockets", _leave_sockets),
    )
    for name, measure in measures:
        try:
            measure()
        except OSError as error:
            refused[name] = error.strerror or str(error)
    # Last: a change of account forgets it.
    die_with_parent(parent)
    return refused


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent's thread ends, however that comes about."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(option: int, first: int, second: object = None) -> None:
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(first), second or zero, zero, zero))


def _syscall(number: int, *arguments: int | bytes) -> int:
    """A call of the kernel that the C library has no name for; integers are as wide as its registers."""
    wide = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    return _check(_libc.syscall(ctypes.c_long(number), *wide))


def _limit(bounds: Bounds) -> None:
    limits = (
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_CPU, bounds.cpu_s),
        (resource.RLIMIT_FSIZE, bounds.out_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files),
        (resource.RLIMIT_NPROC, _tasks() + bounds.processes),
        (resource.RLIMIT_CORE, 0),
    )
    for what, most in limits:
        _, hard = resource.getrlimit(what)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (value, value))


def _tasks() -> int:
    """How many threads this account has: the limit counts all of them, not only ours."""
    mine = os.getuid()
    count = 0
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and place.stat().st_uid == mine:
                count += sum(1 for _ in (place / "task").iterdir())
        except OSError:
            continue  # it has ended meanwhile
    return count


def _leave_network() -> None:
    if _libc.unshare(_CLONE_NEWNET) != 0:
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))


def _leave_root() -> None:
    if os.geteuid() != 0:
        return
    for place in (Path(), *Path().iterdir()):
        os.chown(place, _NOBODY, _NOBODY, follow_symlinks=False)
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _leave_files(readable: Iterable[str]) -> None:
    rights = struct.pack("Q", _ALL_RIGHTS)
    rules = _syscall(_LANDLOCK_CREATE, rights, len(rights), 0)
    try:
        for place in readable:
            _permit(rules, place, _EXECUTE | _READ_FILE | _READ_DIR)
        # By its place, not its name: after a change of account the way to it may be closed.
        _permit(rules, ".", _ALL_RIGHTS)
        _syscall(_LANDLOCK_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _permit(rules: int, place: str, rights: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no permission
    try:
        allowed = rights if os.path.isdir(place) else rights & (_EXECUTE | _READ_FILE)  # noqa: PTH112 - no Path
        rule = struct.pack("=Qi", allowed, descriptor)
        _syscall(_LANDLOCK_ADD, rules, _LANDLOCK_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def _leave_sockets() -> None:
    """No socket is made from here on, and no other process looked into."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        raise OSError(0, f"not known for {platform.machine()}")
    refuse_calls(*known)


def refuse_calls(architecture: int, forbidden: Sequence[int]) -> None:
    """Let the kernel refuse these calls, by number, to this process and its children.

    Raises:
        OSError: the kernel will not.
    """

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    allow, refuse, end = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x80000000
    steps = [
        step(load, 4),  # the architecture a call is made for: another one's numbers mean other things
        step(equal, architecture, 1, 0),
        step(give, end),
        step(load, 0),  # the call's number
        step(at_least, 0x40000000, len(forbidden) + 1, 0),  # the other numbers of an x86
    ]
    for position, number in enumerate(forbidden):
        steps.append(step(equal, number, len(forbidden) - position, 0))
    steps += [step(give, allow), step(give, refuse)]
    program = _Program(len(steps), b"".join(steps))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))
