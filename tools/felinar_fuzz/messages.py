"""Frames and bodies: headers, identities of kept messages, whole and differential bodies, batches, frozen messages."""

from __future__ import annotations

from typing import Any

from felinar import wire_batch
from felinar_wire import batch, codec, core, frame, kept, schema

from felinar_fuzz.take import Take, attempt, number, require

_LONGEST_BODY = frame.LONGEST - frame.HEADER
_FRAME = frozenset({"short", "long", "version"})
_KEPT = frozenset({"short", "range", "coding"})
_CODEC = frozenset({"kind", "short", "trailing", "range", "coding"})
_BATCH = frozenset({"count", "short", "trailing", "range", "coding"})
_CORE = frozenset({"short", "trailing"})

_LAG = 15  # bits of the codec's second byte: the lag,
_DIFFERENTIAL = 16  # against an older message,
_EVOLVED = 32  # in a table with appended fields,
_NEWER = 64  # whose sender may know more than the receiver,
_VALUES = 128  # values to encode instead of a body to decode

# As schema versions to come might append to every message: a plain number, and one that is told by difference.
_APPENDED: Any = (
    ("more", "", 1, 1, 0, 1000, None, 2),
    ("most", "", 1, 1, -50, 50, (3, 60, -1, 0, 1, -1, 2), 3),
)
EVOLVED: schema.Tables = {kind: table + _APPENDED for kind, table in schema.TABLE.items()}
LAYOUTS = [*core.LAYOUT.values(), *core.BRIDGE.values()]


def frame_input(data: bytes, want: int) -> bytes:
    """An input of the target `frame`."""
    return number(want) + data


def frame_question(data: bytes) -> tuple[str, list[Any]]:
    """The call of tests/protocol/calls.py that the input makes."""
    return "unpack", [data[1:].hex(), Take(data).number() & 3]


def header(data: bytes) -> None:
    """A frame's header comes apart into fields that make the same bytes again."""
    want = Take(data).number() & 3
    given = data[1:]
    found, _ = attempt(lambda: frame.unpack(given, want), _FRAME)
    if found is None:
        return
    kind, address, counter, payload = found
    require(0 <= kind < 64 and 0 <= address < 65536 and 0 <= counter < 65536, "a field beyond its bits")
    require(frame.pack(kind, address, counter, payload, want) == given, "it does not pack to the same bytes")


def kept_input(payload: bytes, boot: int, expect: int) -> bytes:
    """An input of the target `kept`."""
    return number(boot, 2) + number(expect, 4) + payload


def _kept(data: bytes) -> tuple[bytes, int, int]:
    take = Take(data)
    boot = take.number(2)
    expect = take.number(4) & 0x3FFFFFFF
    return take.rest(), boot, expect


def kept_question(data: bytes) -> tuple[str, list[Any]]:
    """The call of tests/protocol/calls.py that the input makes."""
    payload, boot, expect = _kept(data)
    return "unkeep", [payload.hex(), boot, expect]


def identity(data: bytes) -> None:
    """A kept message's identity packs to the same bytes again: there is one way to say it."""
    payload, session_boot, expect = _kept(data)
    found, _ = attempt(lambda: kept.unpack_lag(payload, session_boot, expect), _KEPT)
    whole, reason = attempt(lambda: kept.unpack(payload, session_boot, expect), _KEPT | {"form"})
    if found is None:
        require(whole is None and reason != "form", "unpack and unpack_lag do not agree")
        return
    boot, seq, lag, body = found
    require(whole == (None if lag else (boot, seq, body)), "unpack and unpack_lag do not agree")
    again = kept.pack(boot, seq, session_boot, body, expect, lag)
    require(again == payload, f"boot {boot}, seq {seq}, lag {lag} pack to {again.hex()}")


def codec_input(kind: int, body: bytes, lag: int = 0, old: bytes = b"") -> bytes:
    """An input of the target `codec`: a body to decode, `old` the whole body of the older message if there is one."""
    out = number(kind) + number(lag & _LAG | (_DIFFERENTIAL if old else 0))
    return out + (number(len(old)) + old if old else b"") + body


def _old(kind: int, take: Take, tables: schema.Tables) -> schema.Values | None:
    body = take.piece(take.number())
    return attempt(lambda: codec.decode(kind, body, tables=tables), _CODEC)[0]


def _value(take: Take, field: schema.Field, old: schema.Value) -> schema.Value:
    how = take.number()
    low, high = field[4], field[5]
    if how < 6:
        return (None, schema.UNDER, schema.OVER, low - 1, high + 1, high)[how]
    if how < 16:
        return low + take.number(5) % (high - low + 1)
    # A little way from the older value: what differential bodies are made for.
    return (old if isinstance(old, int) else low) + how - 128


def _seen(table: schema.Table, values: schema.Values) -> schema.Values:
    """The values as the receiver is to see them."""
    out: schema.Values = []
    for value, field in zip(values, table, strict=True):
        if isinstance(value, int):
            value = schema.UNDER if value < field[4] else schema.OVER if value > field[5] else value
        out.append(value)
    return out


def _codec(data: bytes) -> tuple[int, int, int, schema.Tables, schema.Values | None, Take]:
    take = Take(data)
    kind = take.number()
    how = take.number()
    tables = EVOLVED if how & _EVOLVED else schema.TABLE
    old = _old(kind, take, tables) if how & _DIFFERENTIAL else None
    return kind, how, how & _LAG, tables, old, take


def codec_question(data: bytes) -> tuple[str, list[Any]] | None:
    """The call of tests/protocol/calls.py that the input makes; None where it makes none."""
    kind, how, lag, tables, old, take = _codec(data)
    appended = [[*field] for field in _APPENDED] if how & _EVOLVED else []
    special = bool(how & (_EVOLVED | _NEWER))
    if not how & _VALUES:
        body = take.rest().hex()
        if special:
            return "decode appended", [kind, appended, body, old, lag, bool(how & _NEWER)]
        return "decode", [kind, body, old, lag]
    if kind not in tables:
        return None
    values = _values(take, tables[kind], old)
    return ("encode appended", [kind, appended, values, old, lag]) if special else ("encode", [kind, values, old, lag])


def _values(take: Take, table: schema.Table, old: schema.Values | None) -> schema.Values:
    return [_value(take, field, old[i] if old else None) for i, field in enumerate(table)]


def bodies(data: bytes) -> None:
    """A body gives values in their ranges that encode to the very same body; any values come back as they are seen."""
    kind, how, lag, tables, old, take = _codec(data)
    before = list(old) if old else old
    if how & _VALUES:
        if kind in tables:
            _there_and_back(kind, _values(take, tables[kind], old), old, lag, tables)
    else:
        _back_and_there(kind, take.rest(), old, lag, bool(how & _NEWER), tables)
    require(old == before, "the older values were changed")


def _there_and_back(
    kind: int, values: schema.Values, old: schema.Values | None, lag: int, tables: schema.Tables
) -> None:
    body = codec.encode(kind, values, old, lag, tables)
    back = codec.decode(kind, body, old, lag, tables=tables)
    want = _seen(tables[kind], values)
    require(back == want, f"{values} come back as {back} by {body.hex()}")
    require(codec.encode(kind, want, old, lag, tables) == body, "what is seen encodes in another way")


def _back_and_there(
    kind: int, body: bytes, old: schema.Values | None, lag: int, newer: bool, tables: schema.Tables
) -> None:
    values, _ = attempt(lambda: codec.decode(kind, body, old, lag, newer, tables), _CODEC)
    if values is None:
        return
    table = tables[kind]
    require(len(values) == len(table), f"{len(values)} values")
    require(_seen(table, values) == values, f"a value beyond its range: {values}")
    again = codec.encode(kind, values, old, lag, tables)
    if again == body:
        return
    # A newer sender's fields are behind those that are known; those that an older one lacks are missing.
    older = len(table) > schema.base(table) and values[-1] is None and again.startswith(body)
    require(older or (newer and body.startswith(again)), f"{values} encode to {again.hex()}")
    require(codec.decode(kind, again, old, lag, tables=tables) == values, "what was encoded again is not the same")


def batch_input(body: bytes, seq: int) -> bytes:
    """An input of the target `batch`."""
    return number(seq, 4) + body


def _batch(data: bytes) -> tuple[bytes, int]:
    take = Take(data)
    seq = take.number(4) & 0x3FFFFFFF
    return take.rest(), seq


def batch_question(data: bytes) -> tuple[str, list[Any]]:
    """The call of tests/protocol/calls.py that the input makes."""
    body, seq = _batch(data)
    return "unbatch", [body.hex(), seq]


def batches(data: bytes) -> None:
    """A batch gives at most 255 reports in rising seq, with values in their ranges, that a batch can hold again."""
    body, seq = _batch(data)
    rows, _ = attempt(lambda: wire_batch.decode(body, seq), _BATCH)
    if rows is None:
        return
    table = schema.TABLE[schema.REPORT]
    require(0 < len(rows) < 256 and rows[0][0] == seq, f"{len(rows)} reports from {rows[0][0]} on")
    for i, (at, values) in enumerate(rows):
        require(i == 0 or 0 < at - rows[i - 1][0] < 257, "seq does not rise")
        require(_seen(table, values) == values, f"a value beyond its range: {values}")
    again = batch.encode(rows)
    require(wire_batch.decode(again, seq) == rows, f"the reports come back otherwise from {again.hex()}")


def core_input(layout: int, body: bytes) -> bytes:
    """An input of the target `core`."""
    return number(layout) + body


def _core(data: bytes) -> tuple[str, bytes]:
    return LAYOUTS[Take(data).number() % len(LAYOUTS)], data[1:]


def core_question(data: bytes) -> tuple[str, list[Any]]:
    """The call of tests/protocol/calls.py that the input makes."""
    layout, body = _core(data)
    return "uncore", [layout, body.hex()]


def frozen(data: bytes) -> None:
    """A message of whole bytes encodes to the very same bytes again."""
    layout, body = _core(data)
    values, _ = attempt(lambda: core.decode(layout, body), _CORE)
    if values is not None:
        require(core.encode(layout, values) == body, f"{values} encode otherwise")
