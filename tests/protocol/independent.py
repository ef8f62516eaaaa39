"""A second implementation of the wire, written from docs/protocol.md alone: bodies, batches, frames, lines, light.

It shares nothing with felinar_wire, not even its table: that is read out of the page. Bits are strings of "0" and "1",
bytes are hex text, and speed is of no concern. What the page leaves open would show here as a vector that fails.
"""

from __future__ import annotations

import ast
import re
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()
Step = int | str | None


class Refused(Exception):
    """Not understood, or not to be written; the argument is the reason."""


# The tables of the page

TEXTS = {int(text[1 : text.index(",")]): text for text in re.findall(r"^    (\(\d+, \(\(.*\)\))$", PAGE, re.M)}
FIELDS: dict[int, list[tuple[Any, ...]]] = {kind: list(ast.literal_eval(text)[1]) for kind, text in TEXTS.items()}
FIELDS |= {
    int(text[1 : text.index(",")]): list(ast.literal_eval(text)[1])
    for text in re.findall(r"^With the appended fields:\n\n    (\(.*\))$", PAGE, re.M)
}
LAYOUTS = {
    int(kind): layout for kind, layout in re.findall(r"^Kind (\d+) (?:(?!^###)[\s\S])*?^Layout: `(.*)`$", PAGE, re.M)
}
REPORT, BATCH = 0, 1


def crc(kind: int) -> int:
    return 1 if kind in LAYOUTS else zlib.crc32(TEXTS[kind].encode("ascii")) % 65536


# Bits


class Bits:
    """Bits to be read from the front."""

    def __init__(self, body: str, start: int = 0) -> None:
        self.bits = "".join(format(byte, "08b") for byte in bytes.fromhex(body))
        self.place = start

    def next(self, count: int) -> str:
        if self.place + count > len(self.bits):
            raise Refused("short")
        self.place += count
        return self.bits[self.place - count : self.place]

    def fill(self) -> None:
        while self.place % 8:
            if self.next(1) == "1":
                raise Refused("coding")

    def at_end(self) -> bool:
        return self.place == len(self.bits)


def filled(bits: str) -> str:
    """Bits as bytes, in hex."""
    bits += "0" * (-len(bits) % 8)
    return "".join(format(int(bits[i : i + 8], 2), "02x") for i in range(0, len(bits), 8))


def binary(value: int, width: int) -> str:
    return format(value, f"0{width}b") if width else ""


def number(d: int, k: int, span: int) -> str:
    if k == -1:
        return ""
    plain = binary(d, span.bit_length())
    if k == 31:
        return plain
    q = d >> k
    return "1" * q + "0" + binary(d % 2**k, k) if q < 8 else "11111111" + plain


def read_number(bits: Bits, k: int, span: int) -> int:
    if k == -1:
        return 0
    if k == 31:
        d = int(bits.next(span.bit_length()), 2)
    else:
        q = 0
        while q < 8 and bits.next(1) == "1":
            q += 1
        if q < 8:
            d = q * 2**k + int("0" + bits.next(k), 2)
        else:
            d = int(bits.next(span.bit_length()), 2)
            if d >> k < 8:
                raise Refused("coding")
    if d > span:
        raise Refused("range")
    return d


# Folding


def fold(value: int, e: int, low: int, high: int) -> int:
    room, a = min(e - low, high - e), abs(value - e)
    if a > room:
        return room + a
    return 2 * a - (value < e)


def unfold(d: int, e: int, low: int, high: int) -> int:
    room = min(e - low, high - e)
    if d <= 2 * room:
        return e - (d + 1) // 2 if d % 2 else e + d // 2
    return e + (d - room) if high - e > room else e - (d - room)


# Marks

MARK_BITS = {"number": "0", "missing": "10", "under": "110", "over": "111"}


def mark_of(value: Step, field: tuple[Any, ...]) -> str:
    if value is None:
        return "missing"
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        raise Refused("type")
    if isinstance(value, str):
        if value not in ("under", "over"):
            raise Refused("type")
        return value
    return "under" if value < field[4] else "over" if value > field[5] else "number"


def marks_of(values: list[Step], fields: list[tuple[Any, ...]]) -> list[str]:
    return [mark_of(value, field) for value, field in zip(values, fields, strict=True)]


def write_marks(marks: list[str], usual: list[str]) -> str:
    return "0" if marks == usual else "1" + "".join(MARK_BITS[mark] for mark in marks)


def read_marks(bits: Bits, usual: list[str]) -> list[str]:
    if bits.next(1) == "0":
        return usual
    marks = []
    for _ in usual:
        code = bits.next(1)
        while code not in MARK_BITS.values():
            code += bits.next(1)
        marks += [name for name, known in MARK_BITS.items() if known == code]
    if marks == usual:
        raise Refused("coding")
    return marks


def as_sent(values: list[Step], marks: list[str]) -> list[Step]:
    said: dict[str, Step] = {"missing": None, "under": "under", "over": "over"}
    return [value if mark == "number" else said[mark] for value, mark in zip(values, marks, strict=True)]


# What is expected


def whether_steady(field: tuple[Any, ...]) -> bool:
    return field[6] is not None and field[6][4] < -1


def expected(
    fields: list[tuple[Any, ...]], i: int, now: list[Step], old: list[Step] | None, lag: int, steady_bit: str
) -> tuple[int, int]:
    """(e, parameter) of field i; `now` has at least the fields before it."""
    low, high, rule = fields[i][4:7]
    if rule is None:
        return low, 31
    k, e, source, slope, history_k, history_source, history_slope = rule
    was = old[i] if old is not None else None
    if not isinstance(was, int) or history_k == -1:
        if source != -1:
            other = now[source]
            e += (other if isinstance(other, int) else 0) * slope >> 6
    else:
        assert old is not None
        e = was
        if history_source == -1:
            e += history_slope * lag
        elif history_source >= 0:
            one, two = now[history_source], old[history_source]
            if isinstance(one, int) and isinstance(two, int):
                e += (one - two) * history_slope >> 6
        else:
            other, time, then = now[-2 - history_source], now[0], old[0]
            if isinstance(other, int) and isinstance(time, int) and isinstance(then, int):
                e += other * (time - then) // history_slope
        k = history_k + (1 if lag >= 3 else 0)
        if history_k < -1:
            k = -1 if steady_bit == "0" else -2 - history_k
    return min(max(e, low), high), k


def all_steady(
    fields: list[tuple[Any, ...]], part: range, now: list[Step], old: list[Step], lag: int
) -> bool:  # fmt: skip
    return all(
        now[i] == expected(fields, i, now, old, lag, "0")[0]
        for i in part
        if whether_steady(fields[i]) and isinstance(now[i], int) and isinstance(old[i], int)
    )


# Bodies


def parts_of(fields: list[tuple[Any, ...]]) -> list[range]:
    """The base fields, then each appended one."""
    base = sum(len(field) == 7 for field in fields)
    return [range(base), *(range(i, i + 1) for i in range(base, len(fields)))]


def checked(fields: list[tuple[Any, ...]], values: list[Step]) -> list[Step]:
    if len(values) != len(fields):
        raise Refused("values")
    return as_sent(values, marks_of(values, fields))


def fields_of(kind: int, appended: list[Any]) -> list[tuple[Any, ...]]:
    if kind not in FIELDS or kind == BATCH:
        raise Refused("kind")
    return FIELDS[kind] + [tuple(field) for field in appended]


def encode(kind: int, values: list[Step], old: list[Step] | None, lag: int) -> str:
    return encode_appended(kind, [], values, old, lag)


def encode_appended(kind: int, appended: list[Any], values: list[Step], old: list[Step] | None, lag: int) -> str:
    fields = fields_of(kind, appended)
    now = checked(fields, values)
    held = None if old is None else checked(fields, old)
    marks = marks_of(now, fields)
    usual = ["number"] * len(fields) if held is None else marks_of(held, fields)
    body = ""
    for part in parts_of(fields):
        cut = slice(part.start, part.stop)
        bits = write_marks(marks[cut], usual[cut])
        steady = ""
        if held is not None:
            steady = "0" if all_steady(fields, part, now, held, lag) else "1"
        bits += steady
        for i in part:
            value = now[i]
            if isinstance(value, int):
                e, k = expected(fields, i, now, held, lag, steady)
                low, high = fields[i][4:6]
                bits += number(fold(value, e, low, high), k, high - low)
        body += filled(bits)
    return body


def read_fields(
    bits: Bits, fields: list[tuple[Any, ...]], part: range, marks: list[str], now: list[Step],
    old: list[Step] | None, lag: int, steady: str, parameters: list[int] | None = None,
) -> None:  # fmt: skip
    """Append the fields of `part` to `now`."""
    for i, mark in zip(part, marks, strict=True):
        if mark != "number":
            now += as_sent([None], [mark])
            continue
        low, high = fields[i][4:6]
        e, k = expected(fields, i, now, old, lag, steady)
        if parameters is not None and fields[i][6] is not None:
            k = parameters[i]
        now.append(unfold(read_number(bits, k, high - low), e, low, high))


def decode(kind: int, body: str, old: list[Step] | None, lag: int) -> list[Step]:
    return decode_appended(kind, [], body, old, lag, False)


def decode_appended(
    kind: int, appended: list[Any], body: str, old: list[Step] | None, lag: int, newer: bool
) -> list[Step]:
    fields = fields_of(kind, appended)
    held = None if old is None else checked(fields, old)
    usual = ["number"] * len(fields) if held is None else marks_of(held, fields)
    bits = Bits(body)
    now: list[Step] = []
    for part in parts_of(fields):
        if part.start and bits.at_end():
            now.append(None)
            continue
        marks = read_marks(bits, usual[part.start : part.stop])
        steady = bits.next(1) if held is not None else ""
        read_fields(bits, fields, part, marks, now, held, lag, steady)
        if held is not None and steady == "1" and all_steady(fields, part, now, held, lag):
            raise Refused("coding")
        bits.fill()
    if not bits.at_end() and not newer:
        raise Refused("trailing")
    return now


# Batches


def usual_parameters(fields: list[tuple[Any, ...]]) -> list[int]:
    found = []
    for field in fields:
        k, history_k = (field[6][0], field[6][4]) if field[6] else (31, -1)
        found.append(k if history_k == -1 else max(history_k, -1))
    return found


def encode_batch(rows: list[tuple[int, list[Step]]]) -> str:
    if not 1 <= len(rows) <= 255:
        raise Refused("count")
    fields = FIELDS[BATCH]
    everything = range(len(fields))
    sent: list[list[Step]] = []
    lags = []
    for place, (seq, values) in enumerate(rows):
        sent.append(checked(fields, values))
        lags.append(seq - rows[place - 1][0] if place else 0)
        if place and not 1 <= lags[-1] <= 256:
            raise Refused("order")
    marks = [marks_of(values, fields) for values in sent]
    gaps = any(lag > 1 for lag in lags)
    varied = any(one != two for one, two in pairwise(marks))
    bits = binary(len(rows), 8) + "01"[gaps] + "01"[varied] + write_marks(marks[0], ["number"] * len(fields))
    distances: list[list[int | None]] = []
    for place, values in enumerate(sent):
        line: list[int | None] = []
        for i in everything:
            value = values[i]
            if not isinstance(value, int):
                line.append(None)
                continue
            low, high = fields[i][4:6]
            e, k = expected(fields, i, values, sent[place - 1] if place else None, lags[place], "1")
            line.append(fold(value, e, low, high))
            if not place:
                bits += number(fold(value, e, low, high), k, high - low)
        distances.append(line)
    parameters = []
    for i, usual in enumerate(usual_parameters(fields)):
        column = [d for line in distances[1:] if (d := line[i]) is not None]
        total = sum(column)
        fitting = [k for k in range(13) if len(column) * 2**k <= total]
        parameters.append(-1 if total == 0 else max(fitting, default=0))
        away = parameters[-1] - usual
        if len(rows) > 1:
            bits += number(2 * away if away >= 0 else -2 * away - 1, 0, 31)
    for place in range(1, len(rows)):
        if gaps:
            bits += number(lags[place] - 1, 0, 255)
        if varied:
            bits += write_marks(marks[place], marks[place - 1])
        for i in everything:
            d = distances[place][i]
            if d is not None:
                k = parameters[i] if fields[i][6] else 31
                bits += number(d, k, fields[i][5] - fields[i][4])
    return filled(bits)


def decode_batch(body: str, seq: int) -> list[tuple[int, list[Step]]]:
    fields = FIELDS[BATCH]
    everything = range(len(fields))
    bits = Bits(body)
    count = int(bits.next(8), 2)
    if count == 0:
        raise Refused("count")
    gaps, varied = bits.next(1) == "1", bits.next(1) == "1"
    marks = read_marks(bits, ["number"] * len(fields))
    values: list[Step] = []
    read_fields(bits, fields, everything, marks, values, None, 0, "")
    rows = [(seq, values)]
    parameters = []
    for usual in usual_parameters(fields) if count > 1 else []:
        away = read_number(bits, 0, 31)
        parameters.append(usual + (-(away + 1) // 2 if away % 2 else away // 2))
        if not -1 <= parameters[-1] <= 12:
            raise Refused("range")
    needed_gaps = needed_varied = False
    for _ in range(count - 1):
        lag = 1 + (read_number(bits, 0, 255) if gaps else 0)
        new_marks = read_marks(bits, marks) if varied else marks
        needed_gaps |= lag > 1
        needed_varied |= new_marks != marks
        marks = new_marks
        new: list[Step] = []
        read_fields(bits, fields, everything, marks, new, values, lag, "1", parameters)
        values, seq = new, seq + lag
        rows.append((seq, values))
    bits.fill()
    if not bits.at_end():
        raise Refused("trailing")
    if (gaps, varied) != (needed_gaps, needed_varied):
        raise Refused("coding")
    return rows


# Frames


def be(value: int, size: int) -> str:
    return format(value % 256**size, f"0{2 * size}x") if size else ""


def pack(kind: int, address: int, counter: int, payload: str, version: int) -> str:
    if not (0 <= kind <= 63 and 0 <= address <= 65535 and 0 <= version <= 3):
        raise Refused("header")
    if len(payload) // 2 > 250:
        raise Refused("long")
    return be(version * 64 + kind, 1) + be(address, 2) + be(counter, 2) + payload


def unpack(data: str, version: int) -> tuple[int, int, int, str]:
    if len(data) < 10:
        raise Refused("short")
    if len(data) > 2 * 255:
        raise Refused("long")
    first = int(data[:2], 16)
    if first // 64 != version:
        raise Refused("version")
    return first % 64, int(data[2:6], 16), int(data[6:10], 16), data[10:]


# Kept messages


def expected_seq(counter: int, first: int) -> int:
    return first + counter // 4


def keep(boot: int, seq: int, session_boot: int, body: str, expect: int, lag: int) -> str:
    if not (0 <= boot < 2**16 and 0 <= seq < 2**30 and 0 <= lag < 16):
        raise Refused("range")
    back = expect - seq
    if boot == session_boot and 0 <= back <= 13:
        return be(back * 16 + lag, 1) + body
    if boot == session_boot and -32768 <= back <= 32767:
        return be(14 * 16 + lag, 1) + be(back, 2) + body
    return be(15 * 16 + lag, 1) + be(boot, 2) + be(seq, 4) + body


def unkeep(payload: str, session_boot: int, expect: int) -> list[Any]:
    data = bytes.fromhex(payload)
    if not data:
        raise Refused("short")
    half, lag = divmod(data[0], 16)
    size = {14: 3, 15: 7}.get(half, 1)
    if len(data) < size:
        raise Refused("short")
    boot, back = session_boot, half
    if half == 14:
        back = int.from_bytes(data[1:3], "big", signed=True)
        if 0 <= back <= 13:
            raise Refused("coding")
    if half == 15:
        boot, back = int.from_bytes(data[1:3], "big"), expect - int.from_bytes(data[3:7], "big")
        if boot == session_boot and -32768 <= back <= 32767:
            raise Refused("coding")
    if not 0 <= expect - back < 2**30:
        raise Refused("range")
    return [boot, expect - back, lag, data[size:].hex()]


def unkeep_whole(payload: str, session_boot: int, expect: int) -> list[Any]:
    boot, seq, lag, body = unkeep(payload, session_boot, expect)
    if lag:
        raise Refused("form")
    return [boot, seq, body]


# The serial line


def line(data: str) -> str:
    content = bytes.fromhex(data)
    content += zlib.crc32(content).to_bytes(4, "little")
    out = b""
    for run in content.split(b"\0"):
        left = run
        while len(left) >= 254:
            out += b"\xff" + left[:254]
            left = left[254:]
        out += bytes([len(left) + 1]) + left
    return (out + b"\0").hex()


def uncobs(piece: bytes) -> bytes:
    out = b""
    if not piece:
        raise Refused("cobs")
    while piece:
        code = piece[0]
        if code == 0 or code > len(piece):
            raise Refused("cobs")
        out += piece[1:code]
        piece = piece[code:]
        if code != 255 and piece:
            out += b"\0"
    return out


def deframe(limit: int, chunks: list[str]) -> list[Any]:
    most = limit + 5 + (limit + 4) // 254
    found: list[str] = []
    counts: dict[str, int] = {}
    *pieces, open_end = bytes.fromhex("".join(chunks)).split(b"\0")
    for piece in pieces:
        try:
            if len(piece) > most:
                raise Refused("long")
            if not piece:
                continue
            data = uncobs(piece)
            if len(data) < 4:
                raise Refused("short")
            if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
                raise Refused("crc")
            if len(data) - 4 > limit:
                raise Refused("long")
            found.append(data[:-4].hex())
        except Refused as refusal:
            counts[refusal.args[0]] = counts.get(refusal.args[0], 0) + 1
    if len(open_end) > most:
        counts["long"] = counts.get("long", 0) + 1
    return [found, counts]


# Light


def lux_step(millilux: int) -> int:
    x = ((max(millilux, 0) + 500) * 2**24) // 500
    log = 0
    while x >= 2 * 2**24:
        x, log = x // 2, log + 1
    for _ in range(20):
        x, log = x * x // 2**24, 2 * log
        if x >= 2 * 2**24:
            x, log = x // 2, log + 1
    return (log * 4565285 + 2**35) // 2**36


def millilux(step: int) -> int:
    whole: int = 100**step
    return (500 * int(101**step) + whole // 2) // whole - 500


# Whole bytes

SIZES = {"b": 1, "h": 2, "i": 4}


def parse_layout(layout: str) -> list[tuple[str, str]]:
    words = layout.split()
    return list(zip(words[::2], words[1::2], strict=True))


def write_layout(layout: str, values: list[Any]) -> str:
    fields = parse_layout(layout)
    if len(values) != len(fields):
        raise Refused("values")
    out = ""
    for (_, code), value in zip(fields, values, strict=True):
        if size := SIZES.get(code.lower()):
            if not isinstance(value, int) or isinstance(value, bool):
                raise Refused("type")
            low = -(256**size) // 2 if code.islower() else 0
            if not low <= value < low + 256**size:
                raise Refused("range")
            out += be(value, size)
        else:
            if not isinstance(value, str):
                raise Refused("type")
            if code != "*" and len(value) != 2 * int(code):
                raise Refused("range")
            out += value
    return out


def read_layout(layout: str, data: str) -> list[Any]:
    left = bytes.fromhex(data)
    values: list[Any] = []
    for _, code in parse_layout(layout):
        size = len(left) if code == "*" else SIZES.get(code.lower()) or int(code)
        if len(left) < size:
            raise Refused("short")
        piece, left = left[:size], left[size:]
        if code.lower() in SIZES:
            values.append(int.from_bytes(piece, "big", signed=code.islower()))
        else:
            values.append(piece.hex())
    if left:
        raise Refused("trailing")
    return values


CALLS = {
    "encode": encode,
    "decode": decode,
    "encode appended": encode_appended,
    "decode appended": decode_appended,
    "batch": encode_batch,
    "unbatch": decode_batch,
    "number": lambda d, k, span: filled(number(d, k, span)),
    "crc": crc,
    "pack": pack,
    "unpack": unpack,
    "keep": keep,
    "unkeep": unkeep,
    "unkeep whole": unkeep_whole,
    "expected": expected_seq,
    "core": write_layout,
    "uncore": read_layout,
    "line": line,
    "deframe": deframe,
    "lux_step": lux_step,
    "millilux": millilux,
}


def call(name: str, args: list[Any]) -> dict[str, Any]:
    """What a vector says: {"result": ...} or {"refused": reason}."""
    try:
        return {"result": CALLS[name](*args)}  # type: ignore[operator]
    except Refused as refusal:
        return {"refused": refusal.args[0]}
