"""PostgREST's query parameters as SQL: ``col=eq.v``, ``not.in.(a,b)``, ``order=a.desc``, ``limit``."""

import csv
import re
from collections.abc import Iterable, Sequence

from psycopg import sql

from tests.standins.supabase.database import Statement, words
from tests.standins.supabase.errors import RestError

RESERVED = frozenset({"select", "order", "limit", "offset", "columns", "on_conflict"})
_COMPARISONS = {
    "eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "LIKE",
    "ilike": "ILIKE", "cs": "@>", "cd": "<@", "ov": "&&",
}  # fmt: skip
_ORDER = re.compile(r"^(?P<column>.+?)(?P<way>\.asc|\.desc)?(?P<nulls>\.nullsfirst|\.nullslast)?$")


def _unparsable(text: str) -> RestError:
    return RestError(400, "PGRST100", f'"failed to parse filter ({text})" (line 1, column 1)')


def selected(asked: str | None, known: Sequence[str]) -> Statement:
    """The list of columns to answer with."""
    if asked in {None, "", "*"}:
        return sql.SQL("*")
    parts: list[Statement] = []
    for item in (asked or "").split(","):
        alias, _, column = item.rpartition(":")
        if column == "*":
            parts.append(sql.SQL("*"))
            continue
        _must_know(column, known)
        named = sql.Identifier(column)
        parts.append(sql.SQL("{} AS {}").format(named, sql.Identifier(alias or column)))
    return sql.SQL(", ").join(parts)


def where(params: Iterable[tuple[str, str]], known: Sequence[str]) -> Statement:
    """The conditions of all filters."""
    found = [_filter(name, text, known) for name, text in params if name not in RESERVED]
    return sql.SQL(" WHERE ") + sql.SQL(" AND ").join(found) if found else sql.SQL("")


def ordered(asked: str | None, known: Sequence[str]) -> Statement:
    """``ORDER BY``, or nothing."""
    if not asked:
        return sql.SQL("")
    parts: list[Statement] = []
    for item in asked.split(","):
        match = _ORDER.match(item)
        if match is None:
            raise _unparsable(item)
        _must_know(match["column"], known)
        part: Statement = sql.Identifier(match["column"]) + sql.SQL(
            " DESC" if match["way"] == ".desc" else " ASC"
        )
        if match["nulls"]:
            part += sql.SQL(" NULLS FIRST" if match["nulls"] == ".nullsfirst" else " NULLS LAST")
        parts.append(part)
    return sql.SQL(" ORDER BY ") + sql.SQL(", ").join(parts)


def paged(limit: str | None, offset: str | None) -> Statement:
    """``LIMIT`` and ``OFFSET``, or nothing."""
    part: Statement = sql.SQL("")
    for word, text in ((" LIMIT ", limit), (" OFFSET ", offset)):
        if text is not None:
            if not text.isdigit():
                raise _unparsable(text)
            part += words(word) + sql.Literal(int(text))
    return part


def _filter(name: str, text: str, known: Sequence[str]) -> Statement:
    _must_know(name, known)
    operator, _, value = text.partition(".")
    if operator == "not":
        return sql.SQL("NOT ({})").format(_filter(name, value, known))
    column = sql.Identifier(name)
    if operator == "is" and value in {"null", "true", "false", "unknown"}:
        word = {"null": "NULL", "true": "TRUE", "false": "FALSE", "unknown": "UNKNOWN"}[value]
        return column + sql.SQL(" IS ") + words(word)
    if operator == "in" and value.startswith("(") and value.endswith(")"):
        items = next(csv.reader([value[1:-1]], escapechar="\\"), [])
        if not items:
            return sql.SQL("FALSE")
        return column + sql.SQL(" IN (") + sql.SQL(", ").join(map(sql.Literal, items)) + sql.SQL(")")
    if operator not in _COMPARISONS:
        raise _unparsable(text)
    if operator in {"like", "ilike"}:
        value = value.replace("*", "%")
    compare = words(f" {_COMPARISONS[operator]} ")
    return column + compare + sql.Literal(value)


def _must_know(column: str, known: Sequence[str]) -> None:
    if column not in known:
        raise RestError(400, "42703", f"column {column} does not exist")
