"""Pages and forms: rendered here, without a script, kept by no cache."""

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse
from jinja2 import Environment, PackageLoader, select_autoescape

from cloud_bridge.api.problems import Problem

PAGES = Environment(loader=PackageLoader("cloud_bridge.api"), autoescape=select_autoescape())
NO_STORE = {"Cache-Control": "no-store"}
FORM = "application/x-www-form-urlencoded"
_LOCAL = re.compile(r"/(?![/\\])[A-Za-z0-9._~/?=&%+:-]{0,500}")


def page(name: str, status: int = 200, **values: object) -> Response:
    """An HTML page that no cache keeps."""
    text = PAGES.get_template(name).render(**values)
    return Response(text, status, NO_STORE, "text/html; charset=utf-8")


def see(path: str) -> Response:
    """Go on at a path of ours."""
    return RedirectResponse(path, 303, NO_STORE)


def local(path: str | None) -> str:
    """A path of ours to go on at; the home page for anything else."""
    return path if path is not None and _LOCAL.fullmatch(path) else "/"


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a form; the first of each name.

    Raises:
        Problem: 415, 422: it is none.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Problem(415, f"a form is expected: {FORM}")
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError:
        raise Problem(422, "the form cannot be read") from None
    return dict(reversed(pairs))


Form = Annotated[Mapping[str, str], Depends(read_form)]
