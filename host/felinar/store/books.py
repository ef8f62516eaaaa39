"""The store's memory of boards and boots: who is stored up to where. It follows the database, roll-backs included."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from typing import TypeVar

from felinar.facts import Health
from felinar.store.interface import BoardView, Row
from felinar.store.seqs import SeqSet

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class Board:
    """A row of `boards`, with the sums over its boots."""

    id: int
    node: int
    uid: str
    life: int
    first_heard: int
    last_heard: int
    boot: int | None = None
    firmware: str | None = None
    schema: int | None = None
    reset: int | None = None
    reports: int = 0
    events: int = 0
    duplicates: int = 0
    same_time: int = 0
    full_w: float | None = None
    missing: int = 0
    made: int = 0
    dropped: int = 0
    health: Health | None = None
    latest: Row | None = None

    def view(self) -> BoardView:
        """What others may see of it."""
        return BoardView(
            self.id, self.node, self.uid, self.life, self.first_heard, self.last_heard, self.boot, self.firmware,
            self.schema, self.reset, self.reports, self.events, self.duplicates, self.same_time, self.missing,
            self.made, self.dropped, self.full_w, self.health, self.latest,
        )  # fmt: skip


@dataclass(slots=True)
class Boot:
    """A row of `boots`. `placed` is the Unix time of the start."""

    stored: SeqSet = field(default_factory=SeqSet)
    placed: int | None = None
    exact: bool = True
    made: int | None = None
    dropped: int | None = None
    pending: int | None = None
    health_at: int | None = None


_BOARDS = (
    "id, node, uid, life, first_heard, last_heard, boot, firmware, schema, reset, reports, events, duplicates,"
    " same_time, full_w, last_time, last_boot, last_seq"
)
_BOOTS = "board, boot, stored, placed, exact, made, dropped, pending, health_at"


def _upsert(table: str, columns: str, key: str, *, fixed: int) -> str:
    """Enter a row or change it in place, so that no index moves; the first `fixed` columns never change."""
    names = columns.split(", ")
    changes = ", ".join(f"{name} = excluded.{name}" for name in names[fixed:])
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {changes}"


class Books:
    """Boards by id, the current one of each (node, uid), boots by (board id, boot).

    `board` and `boot` hand out entries to change, and remember how they were until `settle` says whether the
    transaction was committed.
    """

    def __init__(self) -> None:
        self.views: dict[int, BoardView] = {}
        """After the last commit; entries are replaced, never changed, so any thread may read them."""
        self._boards: dict[int, Board] = {}
        self._boots: dict[tuple[int, int], Boot] = {}
        self._current: dict[tuple[int, str], int] = {}
        self._old_boards: dict[int, Board | None] = {}
        self._old_boots: dict[tuple[int, int], Boot | None] = {}
        self._old_current: dict[tuple[int, str], int | None] = {}

    def load(self, connection: sqlite3.Connection, latest: dict[int, Row]) -> None:
        """Read boards and boots; `latest` has the newest report of each board. Raises ValueError for a bad `stored`."""
        for values in connection.execute(f"SELECT {_BOARDS} FROM boards ORDER BY life"):
            board = Board(*values[:15])
            board.latest = latest.get(board.id)
            self._boards[board.id] = board
            self._current[board.node, board.uid] = board.id
        for values in connection.execute(f"SELECT {_BOOTS} FROM boots"):
            board_id, number, stored, placed, exact, made, dropped, pending, health_at = values
            boot = Boot(SeqSet.from_bytes(stored), placed, bool(exact), made, dropped, pending, health_at)
            self._boots[board_id, number] = boot
            board = self._boards[board_id]
            board.missing += boot.stored.missing
            board.made += made or 0
            board.dropped += dropped or 0
            if number == board.boot and health_at is not None:
                known = {"made": made, "dropped": dropped, "pending": pending}
                board.health = Health(board.node, board.uid, number, health_at, None, known)
        self.views = {id: board.view() for id, board in self._boards.items()}

    def current(self, node: int, uid: str, heard: float) -> Board:
        """The board of that address and chip, entered when it is new."""
        found = self._current.get((node, uid))
        return self.board(found) if found is not None else self._enter(node, uid, 0, heard)

    def next_life(self, board: Board, heard: float) -> Board:
        """The same chip begins its boots again (its memory was erased): from now on it is another board."""
        return self._enter(board.node, board.uid, board.life + 1, heard)

    def board(self, id: int) -> Board:
        """A board to change."""
        board = self._boards[id]
        if id not in self._old_boards:
            self._old_boards[id] = replace(board)
        return board

    def boot(self, board: int, number: int) -> Boot:
        """A boot to change, entered when it is new."""
        key = board, number
        boot = self._boots.get(key)
        if key not in self._old_boots:
            self._old_boots[key] = replace(boot, stored=boot.stored.copy()) if boot else None
        if boot is None:
            boot = self._boots[key] = Boot()
        return boot

    def write(self, connection: sqlite3.Connection) -> None:
        """Write every entry that was handed out since the last `settle`."""
        connection.executemany(
            _upsert("boards", _BOARDS, "id", fixed=4),
            [
                (
                    b.id, b.node, b.uid, b.life, b.first_heard, b.last_heard, b.boot, b.firmware, b.schema, b.reset,
                    b.reports, b.events, b.duplicates, b.same_time, b.full_w,
                    *((b.latest.time, b.latest.boot, b.latest.seq) if b.latest else (None, None, None)),
                )
                for b in (self._boards[id] for id in self._old_boards)
            ],
        )  # fmt: skip
        connection.executemany(
            _upsert("boots", _BOOTS, "board, boot", fixed=2),
            [
                (*key, b.stored.to_bytes(), b.placed, b.exact, b.made, b.dropped, b.pending, b.health_at)
                for key, b in ((key, self._boots[key]) for key in self._old_boots)
            ],
        )

    def settle(self, committed: bool) -> None:
        """Keep the changes, or undo them."""
        if committed:
            for id in self._old_boards:
                self.views[id] = self._boards[id].view()
        else:
            _restore(self._boards, self._old_boards)
            _restore(self._boots, self._old_boots)
            _restore(self._current, self._old_current)
        self._old_boards.clear()
        self._old_boots.clear()
        self._old_current.clear()

    def _enter(self, node: int, uid: str, life: int, heard: float) -> Board:
        id = max(self._boards, default=0) + 1
        board = self._boards[id] = Board(id, node, uid, life, int(heard), int(heard))
        self._old_boards[id] = None
        self._old_current.setdefault((node, uid), self._current.get((node, uid)))
        self._current[node, uid] = id
        return board


def _restore(entries: dict[K, V], old: dict[K, V | None]) -> None:
    for key, value in old.items():
        if value is None:
            entries.pop(key, None)
        else:
            entries[key] = value
