"""What a store of the host must do, and the values that go in and out of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol

from felinar.facts import Health, Hello, Kept


class Outcome(Enum):
    """What became of a kept message."""

    STORED = "stored"
    DUPLICATE = "duplicate"


class TimeSource(IntEnum):
    """How the time of a stored message is known."""

    NODE = 0
    INFERRED = 1
    ARRIVAL = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A stored report or event. Times are Unix seconds; `key` orders rows."""

    time: int
    board: int
    node: int
    boot: int
    seq: int
    source: TimeSource
    schema: int
    heard: int
    body: bytes

    @property
    def key(self) -> tuple[int, int, int, int]:
        return self.time, self.board, self.boot, self.seq


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one message, and the row that it is now (of a duplicate, the row that it would have been)."""

    message: Kept
    outcome: Outcome
    row: Row


@dataclass(frozen=True, slots=True)
class Commit:
    """The answer to `keep`, after the commit: receipts in order, and the ACKs: their bitmaps by (node, uid, boot, base)."""

    receipts: list[Receipt]
    acknowledgements: dict[tuple[int, str, int, int], int]


@dataclass(frozen=True, slots=True)
class BoardView:
    """A physical board as the database knows it after the last commit."""

    id: int
    node: int
    uid: str
    life: int
    first_heard: int
    last_heard: int
    boot: int | None
    firmware: str | None
    schema: int | None
    reset: int | None
    reports: int
    events: int
    duplicates: int
    same_time: int
    missing: int
    made: int
    dropped: int
    full_w: float | None
    health: Health | None
    latest: Row | None


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command as stored; `document` is its JSON."""

    id: int
    node: int
    wire_id: int
    open: bool
    document: bytes


@dataclass(slots=True)
class Metrics:
    """How the store is doing. `trouble` is empty while it can write."""

    trouble: str = ""
    queued: int = 0
    queued_most: int = 0
    refused: int = 0
    batches: int = 0
    failed_batches: int = 0
    largest_batch: int = 0
    commit_ms: float = 0.0
    commit_ms_most: float = 0.0
    details: dict[str, object] = field(default_factory=dict)


class Store(Protocol):
    """Keeps what nodes say and are told. Writes return futures that are done after the commit, or raise StoreError."""

    def keep(self, messages: Sequence[Kept]) -> Future[Commit]:
        """Store messages, each identity once. Nothing may be acknowledged before the future is done."""
        ...

    def note_hello(self, hello: Hello, heard: float) -> Future[None]: ...

    def note_health(self, health: Health) -> Future[None]: ...

    def note_full_power(self, board: int, watts: float) -> Future[None]: ...

    def put_command(self, row: CommandRow) -> Future[None]:
        """Store a command, new or changed."""
        ...

    def boards(self) -> list[BoardView]:
        """Every board after the last commit; no I/O."""
        ...

    def read(
        self,
        kind: int,
        *,
        nodes: Sequence[int] | None,
        since: int | None,
        until: int | None,
        after: tuple[int, int, int, int] | None,
        limit: int,
        newest: bool,
    ) -> Future[list[Row]]:
        """Reports or events with since <= time < until, oldest first.

        `after`: only rows behind this key. `newest`: the newest `limit` of them instead of the oldest.
        """
        ...

    def read_commands(self, *, node: int | None, open_only: bool, limit: int) -> Future[list[CommandRow]]: ...

    def read_command(self, id: int) -> Future[CommandRow | None]: ...

    def last_ids(self) -> tuple[int, dict[int, int]]:
        """The highest command id, and by node the wire id given last. For the start; reads the database."""
        ...

    def metrics(self) -> Metrics: ...

    def close(self) -> None:
        """Write what is queued and close."""
        ...
