"""Takes a line apart for people: frames of nodes and bridges by name, what is text, what is spoiled. Without I/O."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from felinar_wire import WireError, codec, core, frame, kept, schema, serial

from felinar import readings
from felinar.clock import iso
from felinar.tables import RELEASED, History

_LONGEST = frame.LONGEST + 64
_MOST = 4096
_REMEMBERED = 4096  # kept messages
_KEYS = ("key", "next", "data")
"""Fields of frozen messages that are never shown: keys, and what may hold them."""
_CODES = {
    (schema.EVENT, "code"): "EVENT_",
    (schema.HELLO, "reset"): "RESET_",
    (schema.RESULT, "code"): "RESULT_",
    (schema.LAMP_SET, "mode"): "MODE_",
    (schema.LAMP_SET, "reason"): "REASON_",
    (schema.QUERY, "what"): "QUERY_",
    (schema.CONFIG, "key"): "CONFIG_",
}
NAMES = {
    value: name
    for source, names in (
        (schema, "REPORT BATCH EVENT HEALTH LAMP_SET SCHEDULE CONFIG TIME ACK TIME_REQ RESULT QUERY HELLO CONFIG_PART REKEY "
                 "BEACON GROUP_LAMP KEY_DISCLOSE JOIN_REQ JOIN_ACC"),
        (core, "CHALLENGE PROOF OTA_FRAGMENT OTA_PARITY OTA_MANIFEST OTA_STATUS"),
    )
    for name in names.split()
    for value in (getattr(source, name),)
}  # fmt: skip
"""What kinds are called."""
_OF_A_BRIDGE = "RX TX TX_DONE CREDIT LOG HEARTBEAT BRIDGE_HELLO LISTEN PING"
BRIDGE_NAMES = {getattr(core, name): name for name in _OF_A_BRIDGE.split()}


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was on the line. `way` is "in" (from the board) or "out"; `what` is frame, bridge, text or bad.

    `kind` is the message's name, `fields` its values in the units of `units`; `seal` tells of a sealed frame whether it was
    "opened" or why not; `note` what else is to be said, `text` a line of the log, `reason` why something was spoiled.
    """

    way: str
    what: str
    kind: str = ""
    node: int | None = None
    counter: int | None = None
    fields: dict[str, Any] = {}
    units: dict[str, str] = {}
    seal: str = ""
    note: str = ""
    text: str = ""
    reason: str = ""
    size: int = 0


class Opened(msgspec.Struct, frozen=True):
    """What was in a sealed frame: a body (None when it stays closed), and what is to be said of it."""

    seal: str
    body: bytes | None = None
    schema: int = 0
    boot: int = 0
    counter: int = 0
    note: str = ""


class Keys(Protocol):
    """Opens sealed frames, if it has their keys."""

    def open(self, data: bytes) -> Opened: ...


class NoKeys:
    """There is no key store, for the reason that is given."""

    def __init__(self, why: str = "no key store") -> None:
        self._why = why

    def open(self, data: bytes) -> Opened:
        return Opened(f"closed: {self._why}")


class Decoder:
    """Takes bytes as they come and tells what they are. `counts` has frames, lines, bytes and spoiled pieces by reason."""

    def __init__(self, keys: Keys | None = None, history: History = RELEASED) -> None:
        self.counts: dict[str, int] = {"bytes": 0, "frames": 0, "lines": 0}
        self.bad: dict[str, int] = {}
        self.kinds: dict[str, int] = {}
        self._keys = keys or NoKeys()
        self._history = history
        self._rest = bytearray()
        self._told = 0  # bytes of the rest that have been told as text
        self._known: dict[int, tuple[int, int]] = {}  # schema version and boot by address
        self._reports: dict[tuple[int, int, int], list[Any]] = {}
        self._seen: dict[tuple[int, int, int, int], None] = {}

    # Pieces

    def take(self, data: bytes, way: str = "in") -> list[Entry]:
        """What these bytes complete, in order."""
        found: list[Entry] = []
        self.counts["bytes"] += len(data)
        self._rest += data
        while (end := self._rest.find(0)) >= 0:
            found += self._piece(bytes(self._rest[:end]), way)
            del self._rest[: end + 1]
            self._told = 0
        found += self._lines(way)
        if len(self._rest) > _MOST:
            self._rest.clear()
            self._told = 0
            found.append(self._spoiled("long", _MOST, way))
        return found

    def out(self, data: bytes) -> list[Entry]:
        """What we say ourselves; nothing of it counts."""
        decoder = Decoder(self._keys, self._history)
        decoder._known = self._known
        return decoder.take(data, "out")

    def end(self) -> list[Entry]:
        """What is left when the line ends."""
        found = self._text(bytes(self._rest[self._told :]), "in")
        self._rest.clear()
        self._told = 0
        return found

    def _lines(self, way: str) -> list[Entry]:
        fresh = bytes(self._rest[self._told :])
        end = fresh.rfind(b"\n") + 1
        # No frame of ours is text from its first byte to a line's end.
        if not end or not _is_text(fresh[:end]):
            return []
        self._told += end
        return self._text(fresh[:end], way)

    def _piece(self, piece: bytes, way: str) -> list[Entry]:
        fresh = piece[self._told :]
        if not fresh:
            return []
        try:
            content = serial.decode(fresh)
            if not content or len(content) > _LONGEST:
                raise WireError("long" if content else "short")
        except WireError as error:
            if _is_text(fresh):
                return self._text(fresh, way)
            return [self._spoiled(error.reason, len(fresh), way)]
        self.counts["frames"] += 1
        return self._content(content, way)

    def _text(self, piece: bytes, way: str) -> list[Entry]:
        lines = [line.rstrip() for line in piece.decode(errors="replace").splitlines() if line.strip()]
        self.counts["lines"] += len(lines)
        return [Entry(way, "text", text=line) for line in lines]

    def _spoiled(self, reason: str, size: int, way: str) -> Entry:
        self.bad[reason] = self.bad.get(reason, 0) + 1
        return Entry(way, "bad", reason=reason, size=size)

    # Frames

    def _content(self, content: bytes, way: str) -> list[Entry]:
        try:
            if content[0] == core.FRAME:
                return [self._frame(content[1:], way)]
            if content[0] not in BRIDGE_NAMES:
                raise WireError("type")
            return self._bridge(content, way)
        except WireError as error:
            return [self._spoiled(error.reason, len(content), way)]

    def _bridge(self, content: bytes, way: str) -> list[Entry]:
        kind = content[0]
        values, _ = _frozen(core.BRIDGE[kind], content[1:])
        data = content[len(content) - _rest_size(core.BRIDGE[kind], content[1:]) :]
        self._count(BRIDGE_NAMES[kind])
        if kind == core.LOG:
            return [Entry(way, "text", text="bridge: " + data.decode(errors="replace"))]
        units = {
            "rssi": "dBm",
            "snr": "dB",
            "frequency": "Hz",
            "at": "us",
            "airtime": "us",
            "power": "dBm",
            "dbm": "dBm",
        }
        if "snr" in values:
            values["snr"] = values["snr"] / 4
        head = Entry(way, "bridge", kind=BRIDGE_NAMES[kind], fields=values, units=units)
        if kind not in (core.RX, core.TX):
            return [head]
        try:
            return [head, self._frame(data, "in" if kind == core.RX else "out")]
        except WireError as error:
            return [head, self._spoiled(error.reason, len(data), way)]

    def _frame(self, data: bytes, way: str) -> Entry:
        sealed = len(data) > 0 and data[0] >> 6 == frame.SEALED
        kind, address, counter, payload = frame.unpack(data, frame.SEALED if sealed else frame.CLEAR)
        name = NAMES.get(kind, f"kind {kind:#04x}")
        self._count(name)
        if not sealed:
            return self._message(way, kind, name, address, counter, payload)
        if kind in core.LAYOUT and kind not in (schema.CONFIG_PART, schema.REKEY):
            # Joins and what goes to groups are signed, not hidden.
            note = self._keys.open(data).note if kind in (schema.JOIN_REQ, schema.JOIN_ACC) else ""
            return self._plain_frozen(way, kind, name, address, counter, payload, note)
        opened = self._keys.open(data)
        if opened.body is None:
            return Entry(way, "frame", name, address, counter, seal=opened.seal, note=opened.note, size=len(payload))
        return self._unsealed(way, kind, name, address, opened)

    def _plain_frozen(
        self, way: str, kind: int, name: str, address: int, counter: int, payload: bytes, note: str, seal: str = ""
    ) -> Entry:
        if kind == schema.JOIN_ACC:
            values = {"time": iso(int.from_bytes(payload[:4], "big") + schema.EPOCH_UNIX)} if len(payload) > 3 else {}
            return Entry(way, "frame", name, address, counter, values, seal=seal, note=note)
        values, hidden = _frozen(core.LAYOUT[kind], payload)
        notes = [note] if note else []
        if hidden:
            notes.append(", ".join(hidden) + " not shown")
        return Entry(way, "frame", name, address, counter, values, seal=seal, note="; ".join(notes))

    def _unsealed(self, way: str, kind: int, name: str, address: int, opened: Opened) -> Entry:
        body = opened.body or b""
        try:
            if kind in core.LAYOUT:
                return self._plain_frozen(way, kind, name, address, opened.counter, body, opened.note, opened.seal)
            if kind in (schema.REPORT, schema.EVENT, schema.BATCH):
                return self._kept_sealed(way, kind, name, address, opened, body)
            values = self._history.decode(opened.schema, kind, body, sealed=True)
            fields, units = self._fields(kind, self._history.table(opened.schema, kind), values)
            return Entry(way, "frame", name, address, opened.counter, fields, units, opened.seal, opened.note)
        except WireError as error:
            return Entry(
                way,
                "frame",
                name,
                address,
                opened.counter,
                seal=opened.seal,
                note=f"can't be read: {error.reason}",
                size=len(body),
            )

    def _kept_sealed(self, way: str, kind: int, name: str, address: int, opened: Opened, payload: bytes) -> Entry:
        boot, seq, lag, body = kept.unpack_lag(payload, opened.boot, kept.expected(opened.counter))
        front: dict[str, Any] = {"boot": boot, "seq": seq}
        common = dict(seal=opened.seal, size=len(payload))  # noqa: C408 (they are names of arguments)
        if kind == schema.BATCH:
            return Entry(way, "frame", name, address, opened.counter, front, note="several reports", **common)  # type: ignore[arg-type]
        old = None
        if lag:
            old = self._reports.get((address, boot, seq - lag))
            if old is None:
                note = f"differs from report {seq - lag}, which was not seen here"
                return Entry(way, "frame", name, address, opened.counter, front, note=note, **common)  # type: ignore[arg-type]
        values = self._history.decode(opened.schema, kind, body, old, lag, sealed=True)
        if kind == schema.REPORT:
            self._reports[address, boot, seq] = values
            while len(self._reports) > _REMEMBERED:
                del self._reports[next(iter(self._reports))]
        fields, units = self._fields(kind, self._history.table(opened.schema, kind), values)
        return Entry(way, "frame", name, address, opened.counter, {**front, **fields}, units, opened.seal, opened.note)

    def _message(self, way: str, kind: int, name: str, address: int, counter: int, payload: bytes) -> Entry:
        if kind in core.LAYOUT:
            return self._plain_frozen(way, kind, name, address, counter, payload, "")
        front: dict[str, Any] = {}
        version, boot = self._known.get(address, (self._history.newest, 0))
        note = ""
        if kind in (schema.REPORT, schema.EVENT):
            boot, seq, payload = kept.unpack(payload, boot)
            front = {"boot": boot, "seq": seq} if address in self._known else {"seq": seq}
            note = self._again(kind, address, boot, seq)
        if kind == schema.HELLO:
            table = self._history.latest[kind]
            values = codec.decode(kind, payload, None, 0, True, self._history.latest)
            names = [field[0] for field in table]
            told = dict(zip(names, values, strict=False))
            speaks, began = told.get("schema"), told.get("boot")
            if isinstance(speaks, int) and isinstance(began, int):
                self._known[address] = speaks, began
                note = self._history.mismatch(address, speaks)
        else:
            try:
                values = self._history.decode(version, kind, payload)
                table = self._history.table(version, kind)
            except (WireError, KeyError):
                if version in (None, self._history.newest):
                    raise WireError("values") from None
                note = f"of schema {version}, which this Felinar can't read"
                return Entry(way, "frame", name, address, counter, front, note=note, size=len(payload))
        fields, units = self._fields(kind, table, values)
        return Entry(way, "frame", name, address, counter, {**front, **fields}, units, note=note)

    def _fields(self, kind: int, table: schema.Table, values: list[Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """What has a value, in physical units, with numbers that have names by these."""
        steps = {field[0]: value for field, value in zip(table, values, strict=False)}
        known = tuple(field for field in table if field[0] in steps)
        found: dict[str, Any] = dict(readings.physical(kind, steps, known))
        units = {field[0]: field[1] for field in known if field[1]}
        if kind == schema.HELLO and "uid2" in found:
            uid = "".join(f"{found.pop(name):04x}" for name in ("uid0", "uid1", "uid2"))
            firmware = ".".join(str(found.pop(name)) for name in ("major", "minor", "patch"))
            found = {"uid": uid, "firmware": firmware, **found}
        if kind != schema.SCHEDULE and isinstance(found.get("time"), int):
            found["time"] = iso(found["time"] + schema.EPOCH_UNIX)
            units.pop("time", None)
        for (of, name), prefix in _CODES.items():
            if of == kind and isinstance(found.get(name), int):
                found[name] = _named(prefix, found[name])
        shown = {name: value for name, value in found.items() if value is not None}
        return shown, {name: unit for name, unit in units.items() if name in shown}

    def _again(self, kind: int, address: int, boot: int, seq: int) -> str:
        """Says that a kept message has been there before: nobody has acknowledged it."""
        identity = kind, address, boot, seq
        if identity in self._seen:
            return "again"
        self._seen[identity] = None
        while len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return ""

    def _count(self, name: str) -> None:
        self.kinds[name] = self.kinds.get(name, 0) + 1


def _named(prefix: str, number: int) -> str:
    for name, value in vars(schema).items():
        if name.startswith(prefix) and value == number and isinstance(value, int):
            return name.removeprefix(prefix).lower()
    return str(number)


def _frozen(layout: str, payload: bytes) -> tuple[dict[str, Any], list[str]]:
    """Fields of a message in whole bytes, and the names of those that are not shown."""
    values = core.decode(layout, payload)
    found: dict[str, Any] = {}
    hidden = []
    for (name, _), value in zip(core.fields(layout), values, strict=True):
        if name in _KEYS or (isinstance(value, bytes) and name == "text"):
            if name in ("key", "next"):
                hidden.append(name)
            elif isinstance(value, bytes):
                found["bytes"] = len(value)
        else:
            found[name] = value.hex() if isinstance(value, bytes) else value
    return found, hidden


def _rest_size(layout: str, payload: bytes) -> int:
    """Bytes of the field that takes all that remains."""
    return len(payload) - sum(size for _, code in core.fields(layout) if (size := core.size(code)) > 0)


def _is_text(data: bytes) -> bool:
    return bool(data.strip()) and all(byte in b"\r\n\t\x1b\x08" or 32 <= byte < 127 or byte > 127 for byte in data)
