"""The store on SQLite: append-ordered reports, one writer thread, readers beside it (write-ahead log)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from felinar_wire import schema

from felinar.errors import StoreError
from felinar.facts import Health, Hello, Kept
from felinar.store import opening
from felinar.store.books import Board, Books, Boot
from felinar.store.interface import BoardView, CommandRow, Commit, Metrics, Outcome, Receipt, Row, TimeSource
from felinar.store.seqs import SPAN
from felinar.store.writer import Writer

_TABLES = {schema.REPORT: "reports", schema.EVENT: "events"}
_COLUMNS = "time, board, boot, seq, source, schema, heard, body"
_AHEAD_S = 86_400
"""A node whose clock is this far ahead of ours is not believed."""
_SET_UNIX = 1_767_225_600
"""A host whose clock says less than 2026 has not been set and can't judge a node's."""

Result = TypeVar("Result")
Values = tuple[int, int, int, int, int, int, int, bytes]


class SqliteStore:
    """See `felinar.store.Store`. `path` is made if it does not exist; raises StoreError as `opening.open_checked` does.

    `on_trouble` is called from the writer thread with the reason when the database can't be written any more, and with
    "" when it can again; `on_checked` from the reader thread with what a late content check found ("" for nothing).
    """

    def __init__(
        self,
        path: Path,
        *,
        on_trouble: Callable[[str], None] = lambda reason: None,
        on_checked: Callable[[str], None] = lambda found: None,
        linger_s: float = 0.02,
        queue_limit: int = 10_000,
    ) -> None:
        self._path = path
        self._connection, checked = opening.open_checked(path)
        self._books = Books()
        self._rows: dict[int, dict[tuple[int, int, int, int], Values]] = {kind: {} for kind in _TABLES}
        try:
            self._books.load(self._connection, self._newest())
            self._ids = self._last_ids()
            self._reader_connection = opening.read_only(path)
        except (sqlite3.Error, ValueError, KeyError) as error:
            self._connection.close()
            raise StoreError(f"The database {path} is damaged: {error}.", "Restore it from a backup.") from error
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="felinar-read")
        self._writer = Writer(
            self._connection,
            before_commit=self._flush,
            after=self._settle,
            trouble=on_trouble,
            linger_s=linger_s,
            limit=queue_limit,
        )
        if not checked:
            self._reader.submit(lambda: on_checked(opening.quick_check(self._reader_connection)))

    # Writing

    def keep(self, messages: Sequence[Kept]) -> Future[Commit]:
        """Store messages, each identity once. Nothing may be acknowledged before the future is done."""
        return self._writer.submit(lambda connection: self._keep(connection, messages))

    def note_hello(self, hello: Hello, heard: float) -> Future[None]:
        """Remember what a node said of itself when it said HELLO."""

        def job(_: sqlite3.Connection) -> None:
            board = self._books.current(hello.node, hello.uid, heard)
            board.last_heard = int(heard)
            board.boot, board.firmware = hello.boot, hello.firmware
            board.schema, board.reset = hello.schema, hello.reset
            self._books.boot(board.id, hello.boot)

        return self._writer.submit(job)

    def note_health(self, health: Health) -> Future[None]:
        """Remember a node's own account, and when its boot began if that was not known."""

        def job(_: sqlite3.Connection) -> None:
            board = self._books.current(health.node, health.uid, health.heard)
            boot = self._books.boot(board.id, health.boot)
            made, dropped = health.values.get("made"), health.values.get("dropped")
            board.made += (made or 0) - (boot.made or 0)
            board.dropped += (dropped or 0) - (boot.dropped or 0)
            board.last_heard = boot.health_at = int(health.heard)
            boot.made, boot.dropped, boot.pending = made, dropped, health.values.get("pending")
            board.health = health
            if boot.placed is None and health.up is not None:
                boot.placed = int(health.heard) - health.up

        return self._writer.submit(job)

    def note_full_power(self, board: int, watts: float) -> Future[None]:
        """Remember what a board's lamp takes at full level."""

        def job(_: sqlite3.Connection) -> None:
            self._books.board(board).full_w = watts

        return self._writer.submit(job)

    def put_command(self, row: CommandRow) -> Future[None]:
        """Store a command, new or changed."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO commands (id, node, wire_id, open, document) VALUES (?, ?, ?, ?, ?)",
                (row.id, row.node, row.wire_id, int(row.open), row.document),
            )

        return self._writer.submit(job)

    def _keep(self, connection: sqlite3.Connection, messages: Sequence[Kept]) -> Commit:
        receipts = []
        touched: dict[tuple[int, str, int, int], Boot] = {}
        for message in messages:
            board = self._books.current(message.node, message.uid, message.heard)
            boot = self._books.boot(board.id, message.boot)
            row = self._place(message, board, boot)
            if message.seq in boot.stored and not self._is_repeat(connection, message, boot, row):
                board = self._books.next_life(board, message.heard)
                boot = self._books.boot(board.id, message.boot)
                row = self._place(message, board, boot)
            board.last_heard = int(message.heard)
            touched[message.node, message.uid, message.boot, message.seq // SPAN] = boot
            before = boot.stored.missing
            if not boot.stored.add(message.seq):
                board.duplicates += 1
                receipts.append(Receipt(message, Outcome.DUPLICATE, row))
                continue
            board.missing += boot.stored.missing - before
            self._append(connection, message, board, boot, row)
            receipts.append(Receipt(message, Outcome.STORED, row))
        # Of each ACK's span the newest state; only bits count, so that what was not mentioned is never forgotten.
        windows = {key: boot.stored.acknowledgement(key[3] * SPAN) for key, boot in touched.items()}
        return Commit(receipts, {(*key[:3], base): bitmap for key, (base, bitmap) in windows.items()})

    def _place(self, message: Kept, board: Board, boot: Boot) -> Row:
        """When a message was made: by its own account, else by the start of its boot, else by its arrival."""
        time, source = message.time, TimeSource.NODE
        if time is not None and time > message.heard + _AHEAD_S and message.heard >= _SET_UNIX:
            time = None
        if time is None and boot.placed is not None and message.up is not None:
            time, source = boot.placed + message.up, TimeSource.INFERRED
        elif time is None:
            time, source = int(message.heard), TimeSource.ARRIVAL
        return Row(
            time, board.id, board.node, message.boot, message.seq, source, message.schema, int(message.heard),
            message.body,
        )  # fmt: skip

    def _is_repeat(self, connection: sqlite3.Connection, message: Kept, boot: Boot, row: Row) -> bool:
        """Whether a message whose identity is stored is the stored one, and not that of a board that began anew."""
        if not boot.exact or row.source is not TimeSource.NODE:
            return True
        waiting = self._rows[message.kind].get(row.key)
        if waiting:
            return waiting[7] == message.body
        table = _TABLES[message.kind]
        found = connection.execute(
            f"SELECT body FROM {table} WHERE time = ? AND board = ? AND boot = ? AND seq = ?", row.key
        ).fetchone()
        return found is not None and bytes(found[0]) == message.body

    def _append(self, connection: sqlite3.Connection, message: Kept, board: Board, boot: Boot, row: Row) -> None:
        if row.source is not TimeSource.NODE:
            boot.exact = False
        elif boot.placed is None and message.up is not None:
            boot.placed = row.time - message.up
        rows = self._rows[message.kind]
        if message.kind == schema.REPORT:
            board.reports += 1
            if board.latest and row.time <= board.latest.time:
                self._flush_rows(connection)
                shared = connection.execute(
                    "SELECT 1 FROM reports WHERE time = ? AND board = ? LIMIT 1", (row.time, board.id)
                ).fetchone()
                board.same_time += shared is not None
            if board.latest is None or row.key > board.latest.key:
                board.latest = row
        else:
            board.events += 1
        rows[row.key] = (*row.key, int(row.source), row.schema, row.heard, row.body)

    def _flush_rows(self, connection: sqlite3.Connection) -> None:
        for kind, rows in self._rows.items():
            if rows:
                connection.executemany(
                    f"INSERT INTO {_TABLES[kind]} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.values()
                )
                rows.clear()

    def _flush(self, connection: sqlite3.Connection) -> None:
        self._flush_rows(connection)
        self._books.write(connection)

    def _settle(self, committed: bool) -> None:
        for rows in self._rows.values():
            rows.clear()
        self._books.settle(committed)

    # Reading

    def boards(self) -> list[BoardView]:
        """Every board after the last commit; no I/O."""
        return list(self._books.views.values())

    def last_ids(self) -> tuple[int, dict[int, int]]:
        """The highest command id, and by node the wire id given last, as they were at the start."""
        return self._ids

    def read(
        self,
        kind: int,
        *,
        nodes: Sequence[int] | None = None,
        since: int | None = None,
        until: int | None = None,
        after: tuple[int, int, int, int] | None = None,
        limit: int = 1000,
        newest: bool = False,
    ) -> Future[list[Row]]:
        """Reports or events (`kind` of the schema) with since <= time < until, oldest first."""
        boards = {view.id: view.node for view in self.boards()}
        wanted = [id for id, node in boards.items() if nodes is None or node in nodes]
        where, values = ["1"], list[int]()
        if nodes is not None:
            where.append(f"board IN ({', '.join('?' * len(wanted))})")
            values += wanted
        for condition, value in (("time >= ?", since), ("time < ?", until)):
            if value is not None:
                where.append(condition)
                values.append(value)
        if after is not None:
            where.append("(time, board, boot, seq) > (?, ?, ?, ?)")
            values += after
        order = "DESC" if newest else "ASC"
        query = (
            f"SELECT {_COLUMNS} FROM {_TABLES[kind]} WHERE {' AND '.join(where)}"
            f" ORDER BY time {order}, board {order}, boot {order}, seq {order} LIMIT ?"
        )

        def job() -> list[Row]:
            rows = [_row(found, boards) for found in self._reader_connection.execute(query, (*values, limit))]
            return rows[::-1] if newest else rows

        return self._read(job)

    def read_commands(self, *, node: int | None, open_only: bool, limit: int) -> Future[list[CommandRow]]:
        """Commands, oldest first; when there are more than `limit`, the newest of them."""
        where = ["1"] + (["open = 1"] if open_only else []) + (["node = ?"] if node is not None else [])
        columns = "id, node, wire_id, open, document"
        query = f"SELECT {columns} FROM commands WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"
        values = (node, limit) if node is not None else (limit,)
        return self._read(lambda: [_command(row) for row in self._reader_connection.execute(query, values)][::-1])

    def read_command(self, id: int) -> Future[CommandRow | None]:
        """One command, None when there is none of that id."""

        def job() -> CommandRow | None:
            found = self._reader_connection.execute(
                "SELECT id, node, wire_id, open, document FROM commands WHERE id = ?", (id,)
            ).fetchone()
            return _command(found) if found else None

        return self._read(job)

    def metrics(self) -> Metrics:
        """A copy of the writer's figures."""
        return replace(self._writer.metrics, details={"backend": "sqlite", "path": str(self._path)})

    def close(self) -> None:
        """Write what is queued and close."""
        self._writer.close()
        self._reader.shutdown()
        self._reader_connection.close()
        self._connection.close()

    def _read(self, job: Callable[[], Result]) -> Future[Result]:
        def guarded() -> Result:
            try:
                return job()
            except sqlite3.Error as error:
                raise StoreError(f"The database can't be read: {error}.") from error

        return self._reader.submit(guarded)

    def _newest(self) -> dict[int, Row]:
        query = (
            f"SELECT {', '.join('r.' + name for name in _COLUMNS.split(', '))}, b.node FROM boards b JOIN reports r"
            " ON r.time = b.last_time AND r.board = b.id AND r.boot = b.last_boot AND r.seq = b.last_seq"
        )
        return {found[1]: _row(found, {found[1]: found[8]}) for found in self._connection.execute(query)}

    def _last_ids(self) -> tuple[int, dict[int, int]]:
        highest = self._connection.execute("SELECT coalesce(max(id), 0) FROM commands").fetchone()[0]
        last = self._connection.execute("SELECT node, wire_id, max(id) FROM commands GROUP BY node")
        return highest, {node: wire_id for node, wire_id, _ in last}


def _row(found: tuple[int, int, int, int, int, int, int, bytes], nodes: dict[int, int]) -> Row:
    time, board, boot, seq, source, version, heard, body = found[:8]
    return Row(time, board, nodes[board], boot, seq, TimeSource(source), version, heard, bytes(body))


def _command(found: tuple[int, int, int, int, bytes]) -> CommandRow:
    id, node, wire_id, open_, document = found
    return CommandRow(id, node, wire_id, bool(open_), bytes(document))
