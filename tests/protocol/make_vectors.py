"""Writes the golden vectors of messages, forms, frames, serial line and scale: python -m tests.protocol.make_vectors.

Golden means that they change only with the language itself: run it when the schema version rises, and read the diff.
What fuzzing found stands in FOUND, so that it is never lost.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from felinar_wire import core, frame, schema, serial

from tests.protocol import calls
from tests.protocol.body_vectors import sections, spoilt_batches, vector

ROOT = Path(__file__).resolve().parents[2]
R = schema.REPORT
PLAIN = [
    90000000, 86400, 299, 42, 51, 91, 445, 76, 1, 78, 856, 10089, 523, 686, 550, 505, 469, 1, 60, 245, 704381, 12049, -100, 0,
]  # fmt: skip


def there_and_back(
    about: str, kind: int, values: list[Any], old: list[Any] | None = None, lag: int = 0
) -> list[dict[str, Any]]:
    written = vector(about, "encode", kind, values, old, lag)
    if "refused" in written:
        return [written]
    return [written, vector(about, "decode", kind, written["result"], old, lag)]


def corpus() -> list[list[int]]:
    """Reports of the recorded corpus: the first hours of its nodes."""
    names = [field[0] for field in schema.fields(R)]
    with (ROOT / "tools" / "felinar_bench" / "data" / "reports_r.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [
        [int(row["t"]) - schema.EPOCH_UNIX if name == "time" else int(row.get(name, 0)) for name in names]
        for row in rows[:40] + rows[576:600] + rows[1000:1040]
    ]


def messages() -> list[dict[str, Any]]:
    out = []
    for kind, table in sorted(schema.TABLE.items()):
        low, high = [field[4] for field in table], [field[5] for field in table]
        out += there_and_back("every field at its minimum", kind, low)
        out += there_and_back("every field at its maximum", kind, high)
        out += there_and_back("every field in the middle", kind, [(a + b) // 2 for a, b in zip(low, high, strict=True)])
        out += there_and_back("every field missing", kind, [None] * len(table))
        out += there_and_back("every field below its range", kind, [schema.UNDER] * len(table))
        out += there_and_back("every field above its range", kind, [schema.OVER] * len(table))
        for i, field in enumerate(table):
            for about, value in (("missing", None), ("below", field[4] - 1), ("above", field[5] + 1)):
                values = list(PLAIN if kind == R else low)
                values[i] = value  # type: ignore[call-overload]
                out += there_and_back(f"{field[0]} {about}", kind, values)
        out += [
            vector("a count of values that is wrong", "encode", kind, low[1:], None, 0),
            vector("no body", "decode", kind, "", None, 0),
            vector(
                "a byte too many", "decode", kind, calls.call("encode", [kind, low, None, 0])["result"] + "00", None, 0
            ),
            vector(
                "a byte too few", "decode", kind, calls.call("encode", [kind, low, None, 0])["result"][:-2], None, 0
            ),
            vector("CRC of the base fields", "crc", kind),
        ]
    out.append(vector("CRC of a batch", "crc", schema.BATCH))
    for kind in (schema.BATCH, schema.CONFIG_PART, schema.BEACON, 63, 64):
        out.append(vector(f"a kind that is no message of bits: {kind}", "decode", kind, "00", None, 0))
        out.append(vector(f"a kind that is no message of bits: {kind}", "encode", kind, [], None, 0))
    out += [
        vector("marks told although none is special", "decode", schema.QUERY, "80", None, 0),
        vector("padding that is not zero", "decode", schema.QUERY, "01", None, 0),
        vector("a number beyond the span of its bits", "decode", schema.LAMP_SET, "0000ff000000000000", None, 0),
        vector("text is no value", "encode", schema.QUERY, ["other"], None, 0),
        vector("true is no value", "encode", schema.QUERY, [True], None, 0),
        vector("nor is it beside a missing one", "encode", schema.LAMP_SET, [1, True, None, 3, 4, 5], None, 0),
        vector("lag says nothing without an old report", "encode", R, PLAIN, None, 9),
        vector("lag says nothing without an old report", "decode", schema.QUERY, "08", None, 9),
    ]
    return out


def numbers() -> list[dict[str, Any]]:
    out = []
    for k in (0, 1, 3, 12, 22, 27, 31):
        for value in (0, 1, 7, 8, 100, 8 << min(k, 20), (8 << min(k, 20)) - 1):
            out.append(vector(f"Rice parameter {k}" if k < 31 else "plain", "number", value, k, 0x3FFFFFFF))
    return out


def forms() -> list[dict[str, Any]]:
    out = []
    rows = corpus()
    for values in rows[::4]:
        out += there_and_back("whole, of the corpus", R, values)
    for lag in (1, 2, 3, 4, 15):
        for new, old in zip(rows[lag:40:3], rows[:40:3], strict=False):
            out += there_and_back(f"against the report {lag} before it", R, new, old, lag)
    gone: list[Any] = [None if 3 <= i <= 8 else value for i, value in enumerate(PLAIN)]
    later: list[Any] = [PLAIN[0] + 300, PLAIN[1] + 300, *PLAIN[2:]]
    back: list[Any] = [*gone[:2], "over", *gone[3:]]
    for about, new, held in (
        ("nothing changed but the time", later, PLAIN),
        ("the clock was set back", [PLAIN[0] - 7, PLAIN[1] + 300, *PLAIN[2:]], PLAIN),
        ("another period", [PLAIN[0] + 60, PLAIN[1] + 60, *PLAIN[2:]], PLAIN),
        ("values became doubtful", [*later[:23], 1 << schema.DOUBT_PARTICLES | 1 << schema.DOUBT_SOUND], PLAIN),
        ("the lamp went off", [*later[:17], 0, 0, 4, *later[20:]], PLAIN),
        ("the same are missing in both", [PLAIN[0] + 300, PLAIN[1] + 300, *gone[2:]], gone),
        ("some went missing", gone, PLAIN),
        ("some came back", PLAIN, gone),
        ("one saturated, and the host held a number", back, gone),
        ("one saturated in both", back, back),
        ("all missing, then there", PLAIN, [None] * len(PLAIN)),
        ("all there, then missing", [None] * len(PLAIN), PLAIN),
        ("from the lowest to the highest", [f[5] for f in schema.fields(R)], [f[4] for f in schema.fields(R)]),
        ("from the highest to the lowest", [f[4] for f in schema.fields(R)], [f[5] for f in schema.fields(R)]),
    ):
        out += there_and_back(about, R, new, held, 1)
    for about, start, seqs in (
        ("one report", 0, [7]),
        ("two reports", 0, [7, 8]),
        ("twelve", 0, list(range(100, 112))),
        ("twelve with gaps", 12, [0, 1, 2, 4, 5, 6, 30, 31, 287, 288, 289, 290]),
        ("twelve at dusk", 64, list(range(1 << 20, (1 << 20) + 12))),
    ):
        told = [[seq, rows[start + i]] for i, seq in enumerate(seqs)]
        out.append(written := vector(f"batch: {about}", "batch", told))
        out.append(vector(f"batch: {about}", "unbatch", written["result"], seqs[0]))
    mixed = [[1, PLAIN], [2, gone], [3, back], [4, later], [5, [None] * len(PLAIN)]]
    out.append(written := vector("batch: values go missing and come back", "batch", mixed))
    out.append(vector("batch: values go missing and come back", "unbatch", written["result"], 1))
    out += [
        vector("batch: none", "batch", []),
        vector("batch: a count of none", "unbatch", "0000", 1),
        vector("batch: seq not rising", "batch", [[2, PLAIN], [2, PLAIN]]),
        vector("batch: a gap too long", "batch", [[2, PLAIN], [259, PLAIN]]),
        vector("batch: cut", "unbatch", written["result"][:-2], 1),
        vector("batch: a byte too many", "unbatch", written["result"] + "00", 1),
        vector("batch: 256 reports", "batch", [[seq, []] for seq in range(256)]),
        vector("batch: 255 reports without values", "batch", [[seq, []] for seq in range(255)]),
        vector("batch: values before order", "batch", [[2, PLAIN], [2, PLAIN[1:]]]),
        vector("batch: type before order", "batch", [[2, PLAIN], [2, [*PLAIN[:-1], True]]]),
        vector("batch: the first report before the next", "batch", [[2, [*PLAIN[:-1], True]], [2, []]]),
        vector("batch: order before what comes behind", "batch", [[2, PLAIN], [2, PLAIN], [3, []]]),
    ]
    last = (1 << 30) - 1
    out.append(written := vector("batch: seq reaches 2^30 on the way", "batch", [[last, PLAIN], [last + 5, later]]))
    out.append(vector("batch: seq reaches 2^30 on the way", "unbatch", written["result"], last))
    return out + spoilt_batches() + sections()


def frames() -> list[dict[str, Any]]:
    out = []
    for about, args in (
        ("the smallest", (0, 0, 0, "", 0)),
        ("a clear HELLO", (schema.HELLO, 0x1234, 1, "00", 0)),
        ("every header bit set", (63, 65535, 65535, "ff", 3)),
        ("the counter's low half", (0, 1, 0x12345678, "", 1)),
        ("the longest", (0, 1, 2, "aa" * 250, 1)),
        ("too long", (0, 1, 2, "aa" * 251, 1)),
        ("an address too large", (0, 65536, 2, "", 0)),
        ("a kind too large", (64, 1, 2, "", 0)),
        ("a kind too large, and too long", (64, 1, 2, "aa" * 251, 0)),
        ("a version too large", (0, 1, 2, "", 4)),
        ("an address below zero", (0, -1, 2, "", 0)),
    ):
        out.append(written := vector(about, "pack", *args))
        if "result" in written:
            out.append(vector(about, "unpack", written["result"], args[4]))
    out += [
        vector("sealed where a clear one belongs", "unpack", "4000010002", 0),
        vector("clear where a sealed one belongs", "unpack", "0000010002", 1),
        vector("a header cut short", "unpack", "00000100", 0),
        vector("longer than any frame", "unpack", "00" * 256, 0),
    ]
    for about, args in (
        ("the expected seq", (5, 100, 5, "aabb", 100, 0)),
        ("a difference from the report before it", (5, 100, 5, "aabb", 100, 1)),
        ("three behind the expected one", (5, 97, 5, "aabb", 100, 0)),
        ("thirteen behind, the last in one byte", (5, 87, 5, "", 100, 15)),
        ("fourteen behind", (5, 86, 5, "", 100, 0)),
        ("ahead of the expected one", (5, 101, 5, "", 100, 0)),
        ("on a wired line", (5, 77, 5, "", 0, 0)),
        ("the farthest behind in three bytes", (5, 7233, 5, "", 40000, 0)),
        ("the farthest ahead in three bytes", (5, 32768, 5, "", 0, 0)),
        ("too far for three bytes", (5, 32769, 5, "", 0, 0)),
        ("of another boot", (4, 100, 5, "aabb", 100, 0)),
        ("the largest", (65535, (1 << 30) - 1, 0, "", 0, 15)),
        ("a seq too large", (0, 1 << 30, 0, "", 0, 0)),
        ("a lag too large", (0, 1, 0, "", 0, 16)),
        ("a seq below zero", (5, -1, 5, "", 0, 0)),
        ("a boot below zero", (-1, 1, 5, "", 0, 0)),
        ("a boot too large", (65536, 1, 5, "", 0, 0)),
        ("a lag below zero", (5, 1, 5, "", 0, -1)),
    ):
        out.append(written := vector(about, "keep", *args))
        if "result" in written:
            out.append(vector(about, "unkeep", written["result"], args[2], args[4]))
    out += [
        vector("no identity", "unkeep", "", 5, 0),
        vector("cut short", "unkeep", "e000", 5, 0),
        vector("seven bytes where one would do", "unkeep", "f0000500000064", 5, 100),
        vector("three bytes where one would do", "unkeep", "e00001", 5, 100),
        vector("a seq below zero", "unkeep", "d0", 5, 3),
        vector("a seq too large", "unkeep", "f0000640000000", 5, 0),
        vector("cut short, though another form would do", "unkeep", "f00005000000", 5, 0),
        vector("another form, though the seq is below zero", "unkeep", "e00005", 5, 3),
        vector("a whole body where one belongs", "unkeep whole", "00aabb", 5, 7),
        vector("a difference where a whole body belongs", "unkeep whole", "01aabb", 5, 7),
        vector("another form, though it is a difference", "unkeep whole", "e10001aabb", 5, 7),
        vector("a seq below zero, though it is a difference", "unkeep whole", "d1", 5, 3),
        vector("no identity", "unkeep whole", "", 5, 0),
        vector("the expected seq at a counter", "expected", 4003, 7),
    ]
    return out


def frozen() -> list[dict[str, Any]]:
    out = []
    names = {
        kind: name for name, kind in {**vars(schema), **vars(core)}.items() if name.isupper() and isinstance(kind, int)
    }
    layouts = [(names[kind], layout) for kind, layout in core.LAYOUT.items()]
    layouts += [(f"serial type {kind}", layout) for kind, layout in core.BRIDGE.items()]
    for name, layout in layouts:
        low: list[Any] = []
        high: list[Any] = []
        for i, (_, code) in enumerate(core.fields(layout)):
            n = core.size(code)
            half = 1 << 8 * n - 1 if code.islower() else 0
            low.append(-half if code.isalpha() else bytes(max(n, 0)).hex())
            high.append((1 << 8 * n) - 1 - half if code.isalpha() else bytes(range(i, i + (n if n > 0 else 9))).hex())
        for about, values in ((f"{name}, lowest", low), (f"{name}, highest", high)):
            out.append(written := vector(about, "core", layout, values))
            out.append(vector(about, "uncore", layout, written["result"]))
        if not layout.endswith("*"):
            out.append(vector(f"{name}, a byte too many", "uncore", layout, written["result"] + "00"))
        out.append(vector(f"{name}, too few values", "core", layout, low[:-1]))
        out.append(vector(f"{name}, nothing", "uncore", layout, ""))
    out += [
        vector("a number beyond its bytes", "core", "a B", [256]),
        vector("a number below its bytes", "core", "a b", [-129]),
        vector("a key too short", "core", "a 16", ["00" * 15]),
        vector("bytes where a number belongs", "core", "a B", ["00"]),
        vector("true where a number belongs", "core", "a B", [True]),
        vector("true where bytes belong", "core", "a *", [True]),
        vector("a number where bytes belong", "core", "a *", [1]),
    ]
    return out


def lines() -> list[dict[str, Any]]:
    out = []
    for about, data in (
        ("nothing", b""),
        ("a zero", b"\0"),
        ("zeros", bytes(9)),
        ("ordinary", b"felinar"),
        ("no zero in 249 bytes", b"\1" * 249),
        ("a block of 254 bytes, filled by the CRC", b"\1" * 250),
        ("one more", b"\1" * 251),
        ("two blocks", b"\xff" * 504),
        ("a zero behind a full block", b"\1" * 254 + b"\0" + b"\2"),
        ("every byte", bytes(range(256))),
    ):
        out.append(written := vector(about, "line", data.hex()))
        out.append(vector(about, "deframe", 600, [written["result"]]))
    good = serial.encode(b"felinar")
    flipped = bytes([good[0], good[1] ^ 1]) + good[2:]
    for about, limit, chunks in (
        ("cut anywhere", 20, [good[:1], good[1:5], good[5:] + good[:3], good[3:]]),
        ("idle zeros in between", 20, [b"\0\0" + good + b"\0", good]),
        ("a flipped bit, then a good one", 20, [flipped + good]),
        ("a lost zero: both are lost", 20, [good[:-1] + good, good]),
        ("noise, then a good one", 20, [b"noise\0" + good]),
        ("a code that points beyond the end", 20, [b"\5ab\0"]),
        ("too short for a CRC", 20, [b"\3ab\0"]),
        ("as long as the limit", 7, [good]),
        ("longer than the limit", 6, [good]),
        ("a piece that its COBS lets through, but not its data", 250, [serial.encode(bytes(251)), good]),
        ("the same with a wrong CRC", 250, [b"\1" * 256 + b"\0" + good]),
        ("a piece too long, with a wrong CRC", 6, [flipped + b"\0", serial.encode(b"end")]),
        ("a piece too long that goes on", 6, [b"x" * 12, b"x" * 3]),
        ("as long as may be, and no end yet", 6, [b"x" * 11]),
        ("a good one that has no zero yet", 7, [good[:-1]]),
        ("a flood is dropped without being held", 6, [b"x" * 100, b"x" * 100 + b"\0" + serial.encode(b"end")]),
    ):
        out.append(vector(about, "deframe", limit, [chunk.hex() for chunk in chunks]))
    return out


def light() -> list[dict[str, Any]]:
    out = [vector("millilux to step", "lux_step", value) for value in (-1, 0, 1, 2, 3, 5, 10, 100, 500, 1000, 10_000)]
    out += [vector("millilux to step", "lux_step", value) for value in (123_456, 1_000_000, 20_000_000, 200_000_000)]
    out += [vector("step to millilux", "millilux", step) for step in (0, 1, 2, 70, 300, 700, 1000, 1296, 1300)]
    return out


FOUND: list[dict[str, Any]] = []

COVERS = {
    "messages": "Every kind of message: edges of each field, missing and saturated values, bodies to refuse, CRCs, numbers.",
    "forms": "A report whole, against a report that is held, and in batches; bodies of the recorded corpus.",
    "frames": "Headers and the identity of kept messages, their limits, and what must be refused.",
    "core": "Messages of whole bytes: joins, groups, updates, long configurations, and what a bridge says.",
    "serial": "COBS and CRC-32 on a serial line, block edges, faults on the line and how they are counted.",
    "scale": "The logarithmic scale of light.",
}


def main() -> None:
    content = {
        "messages": messages() + numbers() + FOUND, "forms": forms(), "frames": frames(), "core": frozen(), "serial": lines(), "scale": light()
    }  # fmt: skip
    for name, vectors in content.items():
        header = {
            "covers": COVERS[name],
            "schema_version": schema.VERSION,
            "how": "args of a call and its result, or the reason why it is refused; bytes are hex; docs/protocol.md explains",
            "header_bytes": frame.HEADER,
        }
        text = ",\n  ".join(json.dumps(vector) for vector in vectors)
        body = json.dumps(header, indent=1)[:-2] + ',\n "vectors": [\n  ' + text + "\n ]\n}\n"
        (ROOT / "tests" / "vectors" / f"{name}.json").write_text(body)


if __name__ == "__main__":
    main()
