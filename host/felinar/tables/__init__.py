"""The message tables of every released schema version: the host speaks to each node in the version that it announced."""

from __future__ import annotations

from felinar.tables.history import FIXED, History
from felinar.tables.snapshots import load

RELEASED = History(load())
"""The versions that this host knows. The last is `schema.TABLE` itself, the others are snapshots."""

of = RELEASED.of

__all__ = ["FIXED", "RELEASED", "History", "of"]
