"""The store: everything that the host must not forget, behind one small interface."""

from felinar.store.interface import (
    BoardView,
    CommandRow,
    Commit,
    Metrics,
    Outcome,
    Receipt,
    Row,
    Store,
    TimeSource,
)
from felinar.store.sqlite import SqliteStore

__all__ = [
    "BoardView",
    "CommandRow",
    "Commit",
    "Metrics",
    "Outcome",
    "Receipt",
    "Row",
    "SqliteStore",
    "Store",
    "TimeSource",
]
