"""The worker: one process a job, without network and keys, that decodes an upload and writes it anew.

Standard library only. It works in its job's folder: reads ``in``, writes ``out`` and ``result.json``. Whoever
started it trusts none of that; see `cloud_bridge.media.desk`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from cloud_bridge.media.bounds import Bounds, Refused, Wanted
from cloud_bridge.media.confine import confine, die_with_parent
from cloud_bridge.media.probed import judge, stream_of, too_long
from cloud_bridge.media.recipes import Tools, film_arguments, picture_arguments, probe_arguments, reading
from cloud_bridge.media.sniff import sniff

_COMPLAINT_BYTES = 4096
_READABLE = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives", "/dev/urandom")
_OURS = ("-protocol_whitelist", "file", "-f")


def main(request: str) -> None:
    """Do one job in this folder. ``request``: JSON with ``wanted``, ``bounds``, ``tools``, ``readable``.

    ``result.json`` has ``open`` (measures of the confinement that were refused) and ``made`` or ``refused``.
    """
    asked = json.loads(request)
    bounds = Bounds(**asked["bounds"])
    result: dict[str, Any] = {}
    try:
        result["open"] = confine(bounds, (*_READABLE, *asked["readable"]))
        result["made"] = _make(asked["wanted"], bounds, Tools(**asked["tools"]))
    except Refused as refusal:
        result["refused"] = {"code": refusal.code, "why": refusal.why}
    Path("result.json.tmp").write_text(json.dumps(result), encoding="utf-8")
    Path("result.json.tmp").replace("result.json")


def _make(wanted: Wanted, bounds: Bounds, tools: Tools) -> dict[str, int | float | None]:
    """``in`` as a fresh ``out``; its width, height and seconds (None for a picture).

    Raises:
        Refused: it is not taken.
    """
    with Path("in").open("rb") as file:
        kind = sniff(file, wanted, bounds)
    if wanted == "film":
        return _film(kind, bounds, tools)
    _run(picture_arguments(tools, kind, bounds), "This picture cannot be read: it is damaged or cut off.")
    out = stream_of(_probe(probe_arguments(tools, (*_OURS, "png_pipe"), "out")))
    if out is None:
        raise Refused("content", "There is nothing to be seen in this picture.")
    return {"width": out.width, "height": out.height, "seconds": None}


def _film(kind: str, bounds: Bounds, tools: Tools) -> dict[str, int | float | None]:
    # Larger ones are looked at too, so that people can be told how large they are.
    reader = reading(kind, 16 * bounds.film_pixels)
    film = judge(_probe(probe_arguments(tools, reader, "in")), bounds)
    _run(
        film_arguments(tools, kind, bounds, hdr=film.hdr),
        "This film cannot be read: it is damaged, cut off, or needs more memory than it is given.",
    )
    out = stream_of(_probe(probe_arguments(tools, (*_OURS, "mov"), "out")))
    if out is None or not out.frames:
        raise Refused("content", "There is no picture in this film.")
    seconds = out.frames / bounds.film_fps
    if seconds > bounds.film_s + 0.5:
        raise too_long(None, bounds)
    if seconds < 0.8 * film.seconds - 0.5:
        raise Refused("content", f"Of this film's {film.seconds:.0f} seconds only {seconds:.0f} can be read.")
    return {"width": out.width, "height": out.height, "seconds": round(seconds, 3)}


def _run(argv: Sequence[str], why: str) -> None:
    """Run a program to its end; its complaint goes to our own standard error.

    Raises:
        Refused: with ``why``, when it failed.
    """
    with _start(argv, stderr=subprocess.PIPE) as process:
        pipe = process.stderr
        said = pipe.read(_COMPLAINT_BYTES) if pipe else b""
        while pipe and pipe.read(65536):
            pass
    if process.returncode:
        sys.stderr.write(f"{said.decode(errors='replace')}\nexit code {process.returncode}\n")
        raise Refused("content", why)


def _probe(argv: Sequence[str]) -> dict[str, Any]:
    with _start(argv, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate()
    try:
        return cast("dict[str, Any]", json.loads(said or b"{}"))
    except ValueError:
        return {}


def _start(argv: Sequence[str], **pipes: int) -> "subprocess.Popen[bytes]":
    parent = os.getpid()
    # No program outlives the worker, not even one that is killed. A fork is safe here: there is one thread.
    return subprocess.Popen(
        argv,
        preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509
        stdout=pipes.get("stdout"),
        stderr=pipes.get("stderr"),
    )
