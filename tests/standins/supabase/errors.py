"""PostgREST's errors: which HTTP status for which SQLSTATE, and their JSON."""

import re
from dataclasses import dataclass

import psycopg

_EXACT = {
    "23503": 409,
    "23505": 409,
    "25006": 405,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "53400": 500,
    "57P01": 503,
    "P0001": 400,
}
_CLASSES = {
    "08": 503, "09": 500, "0L": 403, "0P": 403, "25": 500, "28": 403, "2D": 500, "38": 500, "39": 500,
    "3B": 500, "40": 500, "53": 503, "54": 500, "55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500,
    "P0": 500, "XX": 500,
}  # fmt: skip


@dataclass(eq=False)
class RestError(Exception):
    """A refusal as PostgREST words it."""

    status: int
    code: str | None
    message: str
    details: str | None = None
    hint: str | None = None

    def body(self) -> dict[str, str | None]:
        """Its JSON."""
        return {"code": self.code, "details": self.details, "hint": self.hint, "message": self.message}


def of_database(error: psycopg.Error, *, anonymous: bool) -> RestError:
    """PostgreSQL's error as an answer."""
    code = error.sqlstate or "XX000"
    diag = error.diag
    return RestError(
        _status(code, anonymous=anonymous),
        code,
        diag.message_primary or str(error).strip(),
        diag.message_detail,
        diag.message_hint,
    )


def _status(code: str, *, anonymous: bool) -> int:
    if code == "42501":
        return 401 if anonymous else 403
    if re.fullmatch(r"PT[2-5]\d\d", code):
        return int(code[2:])
    return _EXACT.get(code) or _CLASSES.get(code[:2], 400)


def no_function(name: str, arguments: list[str]) -> RestError:
    """PGRST202."""
    asked = ", ".join(arguments)
    return RestError(
        404,
        "PGRST202",
        f"Could not find the function public.{name}({asked}) in the schema cache"
        if arguments
        else f"Could not find the function public.{name} without parameters in the schema cache",
        f"Searched for the function public.{name} with parameters {asked} or with a single unnamed"
        " json/jsonb parameter, but no matches were found in the schema cache.",
    )


def no_table(name: str) -> RestError:
    """PGRST205."""
    return RestError(404, "PGRST205", f"Could not find the table 'public.{name}' in the schema cache")


def no_column(table: str, column: str) -> RestError:
    """PGRST204."""
    return RestError(
        400, "PGRST204", f"Could not find the '{column}' column of '{table}' in the schema cache"
    )
