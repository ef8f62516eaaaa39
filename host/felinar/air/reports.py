"""What a sealed frame carries to be kept, as the store takes it: whole bodies, whether it came whole, as a difference or in a batch."""

from __future__ import annotations

from collections.abc import Callable

from felinar_wire import WireError, codec, kept, schema

from felinar import bodies, wire_batch
from felinar.facts import Kept
from felinar.keys import Opened
from felinar.tables import History

KINDS = frozenset((schema.REPORT, schema.BATCH, schema.EVENT))
BASES = 16
"""A difference counts from a report whose seq is less than that lower."""

Base = Callable[[int, int], "schema.Values | None"]
"""The values of the stored report of a boot with a seq, in the order of the node's table; None when they are not at hand."""


class BaseMissing(Exception):
    """A difference can't be read, as the report that it counts from is not at hand; `identity` is its (boot, seq)."""

    def __init__(self, boot: int, seq: int) -> None:
        super().__init__(f"{boot}/{seq}")
        self.identity = boot, seq


def unpack(
    opened: Opened, uid: str, heard: float, base: Base, history: History
) -> tuple[list[Kept], dict[tuple[int, int], schema.Values]]:
    """The kept messages of a frame, and the values of its reports by (boot, seq), from which later ones may differ.

    Bodies are those that the node itself would send whole. A node that is newer than this host may have said more than
    its base fields: that can't be made whole again from a difference, so of its reports nothing more is ever kept.
    Raises WireError (those of `kept.unpack_lag`, `wire_batch.decode`, "form") and BaseMissing.
    """
    version = opened.schema
    tables = history.of(version)
    boot, seq, lag, body = kept.unpack_lag(opened.body, opened.boot, kept.expected(opened.counter))
    if lag and opened.kind != schema.REPORT:
        raise WireError("form")
    found: dict[tuple[int, int], schema.Values] = {}
    if opened.kind == schema.EVENT:
        return [_kept(opened, uid, heard, boot, seq, schema.EVENT, body, history)], found
    if opened.kind == schema.BATCH:
        for number, values in wire_batch.decode(body, seq, tables or history.latest):
            found[boot, number] = values
    elif lag:
        old = base(boot, seq - lag)
        if old is None:
            raise BaseMissing(boot, seq - lag)
        found[boot, seq] = history.decode(version, schema.REPORT, body, old, lag, sealed=True)
    else:
        try:
            found[boot, seq] = history.decode(version, schema.REPORT, body, sealed=True)
        except WireError:
            # It is genuine, so it is kept as it is and can be looked at again.
            return [_kept(opened, uid, heard, boot, seq, schema.REPORT, body, history)], {}
        if tables is not None:
            return [_kept(opened, uid, heard, boot, seq, schema.REPORT, body, history)], found
    return [
        _kept(
            opened, uid, heard, *identity, schema.REPORT,
            codec.encode(schema.REPORT, values, None, 0, tables or history.latest), history,
        )
        for identity, values in found.items()
    ], found  # fmt: skip


def _kept(
    opened: Opened, uid: str, heard: float, boot: int, seq: int, kind: int, body: bytes, history: History
) -> Kept:
    version = opened.schema if boot == opened.boot else None
    made = history.made(kind, version, announced=opened.schema, sealed=True)
    time, up = bodies.times(made, kind, body, history) or (None, None)
    return Kept(opened.address, uid, boot, seq, kind, made, body, heard, time, up)
