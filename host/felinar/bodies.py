"""The bodies of kept messages by name, whatever schema version made them: see `felinar.tables.History.made`."""

from __future__ import annotations

from felinar_wire import schema

from felinar.tables import RELEASED, History


def unpack(made: int, kind: int, body: bytes, history: History = RELEASED) -> dict[str, object] | None:
    """Values by this host's names and in its steps; None when the body is of a schema that it can't read, or is damaged.

    A field that was not there then, or whose steps were others, is None.
    """
    opened = history.open(made, kind, body)
    if opened is None:
        return None
    return {**history.named(kind, *opened)}


def times(made: int, kind: int, body: bytes, history: History = RELEASED) -> tuple[int | None, int | None] | None:
    """(Unix time, seconds since the node's start) that a body tells, None for what it does not; None if it can't be read."""
    steps = unpack(made, kind, body, history)
    if steps is None:
        return None
    time, up = steps.get("time"), steps.get("up")
    return time + schema.EPOCH_UNIX if isinstance(time, int) else None, up if isinstance(up, int) else None
