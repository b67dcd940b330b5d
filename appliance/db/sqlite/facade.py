"""A connection that looks like sqlite3's and works on an apsw connection, so that sqlite-utils can change a schema.

Only as much as sqlite-utils and our migrations use. The exception classes are those that sqlite-utils catches; no
second SQLite library ever opens the file (reliability.md, decision 1).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn

import apsw

# sqlite-utils says itself which module's exceptions it expects.
_dbapi = importlib.import_module("sqlite_utils.utils").sqlite3
_CHANGES = ("insert", "update", "delete", "replace")

Parameters = Sequence[Any] | Mapping[str, Any]


def _raise(error: apsw.Error) -> NoReturn:
    if isinstance(error, apsw.ConstraintError):
        raise _dbapi.IntegrityError(str(error)) from error
    if isinstance(error, apsw.MisuseError):
        raise _dbapi.ProgrammingError(str(error)) from error
    raise _dbapi.OperationalError(str(error)) from error


class Cursor:
    """Rows are fetched at once, so that no statement stays open and blocks a schema change."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: tuple[tuple[str, None, None, None, None, None, None], ...] | None = None
        self.lastrowid: int | None = None
        self.rowcount = -1
        self._rows: Iterator[Any] = iter(())

    def execute(self, sql: str, parameters: Parameters = ()) -> Cursor:
        """As in sqlite3, but without transactions of its own."""
        apsw_connection = self.connection.apsw_connection
        try:
            before = apsw_connection.total_changes()
            cursor = apsw_connection.cursor()
            cursor.exec_trace = self._describe
            self.description = None
            self._rows = iter(list(cursor.execute(sql, parameters or None)))
            self.lastrowid = apsw_connection.last_insert_rowid()
            is_change = sql.lstrip().lower().startswith(_CHANGES)
            self.rowcount = apsw_connection.total_changes() - before if is_change else -1
        except apsw.Error as error:
            _raise(error)
        return self

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> Cursor:
        """One after the other; ``rowcount`` is their sum."""
        count = 0
        for parameters in rows:
            count += max(self.execute(sql, parameters).rowcount, 0)
        self.rowcount = count
        return self

    def fetchone(self) -> Any:
        """The next row or None."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return list(self._rows)

    def close(self) -> None:
        """Forget the rows."""
        self._rows = iter(())

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def __next__(self) -> Any:
        return next(self._rows)

    def _describe(self, cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
        # The description is only known while the statement runs.
        try:
            columns = cursor.get_description()
        except apsw.ExecutionCompleteError:
            columns = ()
        self.description = tuple((column[0], None, None, None, None, None, None) for column in columns) or None
        return True


class Connection:
    """See the module. Transactions are begun and ended by statements only."""

    isolation_level = None
    row_factory = None

    def __init__(self, apsw_connection: apsw.Connection) -> None:
        self.apsw_connection = apsw_connection

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.apsw_connection.in_transaction

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self)

    def execute(self, sql: str, parameters: Parameters = ()) -> Cursor:
        """On a new cursor."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> Cursor:
        """On a new cursor."""
        return self.cursor().executemany(sql, rows)

    def executescript(self, sql: str) -> Cursor:
        """Several statements, inside the open transaction if there is one: unlike sqlite3's, it does not commit it."""
        return self.cursor().execute(sql)

    def commit(self) -> None:
        """End the transaction, if any."""
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if any."""
        if self.in_transaction:
            self.execute("ROLLBACK")

    def create_function(
        self, name: str, count: int, function: Callable[..., Any], *, deterministic: bool = False
    ) -> None:
        """A function for SQL; ``count`` of arguments."""
        self.apsw_connection.create_scalar_function(name, function, count, deterministic=deterministic)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def close(self) -> None:
        """The apsw connection belongs to the caller, who closes it."""
