"""What PostgREST does with a request: tables and functions, each in one transaction as the caller."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from psycopg import sql

from tests.standins.supabase import errors, query
from tests.standins.supabase.database import (
    Caller,
    Connection,
    Database,
    Function,
    Statement,
    columns,
    functions,
    primary_key,
    words,
)
from tests.standins.supabase.errors import RestError

OBJECT = "application/vnd.pgrst.object+json"


@dataclass(frozen=True)
class Ask:
    """A request to a table or a function, its token verified already."""

    caller: Caller
    params: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes

    def param(self, name: str) -> str | None:
        """The first value of a parameter."""
        return next((value for key, value in self.params if key == name), None)

    def prefers(self, what: str) -> bool:
        """Whether the header ``Prefer`` has this."""
        return what in self.headers.get("prefer", "").replace(" ", "").split(",")

    def json(self) -> Any:
        """The body.

        Raises:
            RestError: it is none.
        """
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise RestError(400, "PGRST102", "Empty or invalid json") from None


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Rest:
    """Tables and functions of schema public."""

    database: Database

    def call(self, name: str, ask: Ask, hidden: frozenset[str]) -> Answer:
        """``/rpc/name``: the arguments by name, the result as JSON.

        Raises:
            RestError: no such function, or the database refused it.
        """
        if ask.caller.method == "POST":
            given = ask.json()
        else:
            given = {key: value for key, value in ask.params if key not in query.RESERVED}
        if not isinstance(given, dict):
            raise RestError(400, "PGRST102", "All object keys must match")
        arguments = cast("dict[str, object]", given)
        with self.database.request(ask.caller) as db:
            found = None if name in hidden else _fitting(functions(db, name), arguments)
            if found is None:
                raise errors.no_function(name, sorted(arguments))
            done = db.execute(_calling(name, found, arguments))
            if found.returns_void:
                return Answer(204, b"")
            row = done.fetchone()
        whole = str(row[0]) if row and row[0] is not None else "null"
        return Answer(200, _single(whole, ask) if found.returns_set else whole.encode())

    def table(self, name: str, ask: Ask, hidden: frozenset[str]) -> Answer:
        """``/name``: select, insert, upsert, update or delete.

        Raises:
            RestError: no such table or column, or the database refused it.
        """
        with self.database.request(ask.caller) as db:
            known = () if name in hidden else columns(db, name)
            if not known:
                raise errors.no_table(name)
            statement = _statement(db, name, ask, known)
            count = _count(db, name, ask, known)
            returned = sql.SQL(
                "WITH done AS ({}) SELECT coalesce(json_agg(to_json(done)), '[]')::text, count(*) FROM done"
            )
            row = db.execute(returned.format(statement)).fetchone()
        text, rows = cast("tuple[str, int]", row)
        last = f"0-{rows - 1}" if rows else "*"
        headers = {"Content-Range": f"{last}/{'*' if count is None else count}"}
        wanted = ask.caller.method in {"GET", "HEAD"} or ask.prefers("return=representation")
        if not wanted:
            return Answer(201 if ask.caller.method == "POST" else 204, b"", headers)
        status = 201 if ask.caller.method == "POST" else 200
        return Answer(status, b"" if ask.caller.method == "HEAD" else _single(text, ask), headers)


def _statement(db: Connection, name: str, ask: Ask, known: Sequence[str]) -> Statement:
    table, chosen = sql.Identifier("public", name), query.selected(ask.param("select"), known)
    where = query.where(ask.params, known)
    if ask.caller.method in {"GET", "HEAD"}:
        order = query.ordered(ask.param("order"), known)
        page = query.paged(ask.param("limit"), ask.param("offset"))
        return sql.SQL("SELECT {} FROM {}").format(chosen, table) + where + order + page
    back = sql.SQL(" RETURNING {}").format(chosen)
    if ask.caller.method == "DELETE":
        return sql.SQL("DELETE FROM {}").format(table) + where + back
    given = ask.json()
    if ask.caller.method == "PATCH":
        return _update(name, given, where, known) + back
    return _insert(db, name, ask, given if isinstance(given, list) else [given], known) + back


def _update(name: str, given: object, where: Statement, known: Sequence[str]) -> Statement:
    names = sql.SQL(", ").join(map(sql.Identifier, _keys([given], name, known)))
    return sql.SQL(
        "UPDATE {table} SET ({names}) = (SELECT {names} FROM json_populate_record(null::{table}, {given}))"
        "{where}"
    ).format(
        table=sql.Identifier("public", name), names=names, given=sql.Literal(json.dumps(given)), where=where
    )


def _fitting(found: Sequence[Function], given: Mapping[str, object]) -> Function | None:
    """The overload that takes exactly these names, defaults filling what is missing."""
    for function in found:
        names = set(function.arguments)
        if set(given) <= names and names - function.optional <= set(given):
            return function
    return None


def _calling(name: str, function: Function, given: Mapping[str, object]) -> Statement:
    target = sql.Identifier("public", name)
    names = [argument for argument in function.arguments if argument in given]
    passed = sql.SQL(", ").join(
        sql.SQL("{0} := _.{0}").format(sql.Identifier(argument)) for argument in names
    )
    typed = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(argument), words(function.arguments[argument]))
        for argument in names
    )
    call = sql.SQL("{}({})").format(target, passed)
    source = (
        sql.SQL(" FROM json_to_record({}) AS _({})").format(sql.Literal(json.dumps(given)), typed)
        if names
        else sql.SQL("")
    )
    if function.returns_set:
        across = sql.SQL(" CROSS JOIN LATERAL {} r" if names else " FROM {} r").format(call)
        body = sql.SQL("SELECT r.*") + source + across
        return sql.SQL("SELECT coalesce(json_agg(to_json(d)), '[]')::text FROM ({}) d").format(body)
    if function.returns_void:
        return sql.SQL("SELECT {}").format(call) + source
    return sql.SQL("SELECT to_json({})::text").format(call) + source


def _insert(db: Connection, name: str, ask: Ask, rows: Sequence[Any], known: Sequence[str]) -> Statement:
    names = _keys(rows, name, known)
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    table = sql.Identifier("public", name)
    insert = sql.SQL(
        "INSERT INTO {table} ({listed}) SELECT {listed} FROM json_populate_recordset(null::{table}, {rows})"
    ).format(table=table, listed=listed, rows=sql.Literal(json.dumps(rows)))
    merge = ask.prefers("resolution=merge-duplicates")
    if not merge and not ask.prefers("resolution=ignore-duplicates"):
        return insert
    keys = (ask.param("on_conflict") or ",".join(primary_key(db, name))).split(",")
    target = sql.SQL(", ").join(map(sql.Identifier, keys))
    if not merge:
        return insert + sql.SQL(" ON CONFLICT ({}) DO NOTHING").format(target)
    sets = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(key)) for key in names)
    return insert + sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(target, sets)


def _keys(rows: Sequence[object], name: str, known: Sequence[str]) -> list[str]:
    if not all(isinstance(row, dict) for row in rows):
        raise RestError(400, "PGRST102", "All object keys must match")
    names = sorted({key for row in cast("Sequence[dict[str, object]]", rows) for key in row})
    for column in names:
        if column not in known:
            raise errors.no_column(name, column)
    return names


def _count(db: Connection, name: str, ask: Ask, known: Sequence[str]) -> int | None:
    if not ask.prefers("count=exact"):
        return None
    counting = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", name))
    row = db.execute(counting + query.where(ask.params, known)).fetchone()
    return cast("tuple[int]", row)[0]


def _single(text: str, ask: Ask) -> bytes:
    """The rows as asked for: a list, or the one object."""
    if not ask.headers.get("accept", "").startswith(OBJECT):
        return text.encode()
    rows = json.loads(text)
    if len(rows) != 1:
        raise RestError(
            406, "PGRST116", "Cannot coerce the result to a single JSON object",
            f"The result contains {len(rows)} rows",
        )  # fmt: skip
    return json.dumps(rows[0]).encode()
