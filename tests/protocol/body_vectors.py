"""Vectors of bodies that are put together bit by bit: appended fields, and batches told in another than the one way."""

from __future__ import annotations

from typing import Any

from felinar_wire import batch, schema
from felinar_wire import bits as wire_bits

from tests.protocol import calls

R = schema.REPORT


def vector(about: str, name: str, *args: Any) -> dict[str, Any]:
    return {"about": about, "call": name, "args": list(args), **calls.call(name, list(args))}


def sections() -> list[dict[str, Any]]:
    """Bodies with appended fields, which stand in sections of their own; the steady ones of QUERY are none."""
    out = []
    query = schema.QUERY
    plain = ["more", "", 1, 1, 0, 1000, [12, 0, -1, 0, -1, 0, 0], 2]
    steady = ["most", "", 1, 1, 0, 100, [3, 40, -1, 0, -3, -1, 0], 3]
    both = [plain, steady]
    for about, values, old in (
        ("appended fields, whole", [5, 77, 40], None),
        ("missing ones have their sections all the same", [5, None, None], None),
        ("a difference, the steady one as expected", [5, 78, 40], [5, 77, 40]),
        ("a difference, the steady one not as expected", [5, 78, 41], [5, 77, 40]),
        ("a difference from an older sender's", [5, 78, 41], [5, None, None]),
    ):
        out.append(written := vector(about, "encode appended", query, both, values, old, 1))
        out.append(vector(about, "decode appended", query, both, written["result"], old, 1, False))
    held = [5, 77, 40]
    for about, body, old, newer in (
        ("a body that ends before its sections", "28", None, False),
        ("a body that ends before the last section", bits("0 0101", "0 0 000001001101"), None, False),
        ("no body at all", "", None, False),
        ("steady 1 in the section of a field that is not steady", bits("0 0 0101", "0 1 0 000001001110", "0 0"), held, False),
        ("steady 1 where the field is missing", bits("0 0 0101", "1 10 1", "0 0"), held, False),
        ("steady 1 although it is as expected", bits("0 0 0101", "0 0 0 000001001110", "0 1 0 0"), held, False),
        ("eight ones without need, of a number beyond the span", bits("0 0101", "0 11111111 1111110010"), None, False),
        ("a number beyond the span", bits("0 0101", "0 0 001111110010"), None, False),
        ("the filling of the base fields is looked at before the first section", bits("0 0101 001", "0 11111111"), None, False),
        ("the filling of a section before the bytes behind the last", bits("0 0101", "0 0 000001001110 01", "0 0 0", "0 0"), None, False),
        ("bytes behind the last section", bits("0 0101", "0 0 000001001110", "0 0 000", "0"), None, False),
        ("bytes behind the last section, of a newer sender", bits("0 0101", "0 0 000001001110", "0 0 000", "0"), None, True),
    ):  # fmt: skip
        out.append(vector(about, "decode appended", query, both, body, old, 1, newer))
    return out


def bits(*parts: str) -> str:
    """Parts of a body, each filled up to whole bytes, as hex."""
    out = ""
    for part in parts:
        part = part.replace(" ", "")
        part += "0" * (-len(part) % 8)
        out += "".join(f"{int(part[i : i + 8], 2):02x}" for i in range(0, len(part), 8))
    return out


def spoilt_batches() -> list[dict[str, Any]]:
    """Batches of two reports that are told in another than the one way, and the order in which that is found."""
    missing: list[Any] = [None] * len(schema.fields(R))
    rows = [[1, missing], [2, missing]]
    front = "1 " + "10" * len(missing)
    usual = "".join(_parameter(2 * k + 1 if k >= 0 else 0) for k in batch.usual(schema.fields(R)))
    none = _parameter(0) * len(missing)
    out = [written := vector("batch: two reports without a number", "batch", rows)]
    head = "00000010 "
    wrong = _parameter(0) * 10 + _parameter(31) + _parameter(0) * (len(missing) - 11)
    for about, body in (
        ("as it is written", bits(head + "00" + front + usual)),
        ("other parameters, which are the sender's choice", bits(head + "00" + front + none)),
        ("a parameter that there is not", bits(head + "00" + front + wrong)),
        ("gaps without need", bits(head + "10" + front + usual + "0")),
        ("varied without need", bits(head + "01" + front + usual + "0")),
        ("gaps without need, and a byte too many", bits(head + "10" + front + usual + "0", "0")),
        ("gaps without need, and filling that is not zero", bits(head + "10" + front + usual + "0" + "1")),
        ("filling that is not zero, and a byte too many", bits(head + "10" + front + usual + "0" + "1", "0")),
        ("the usual marks the long way", bits(head + "01" + front + usual + front)),
        ("eight ones without need before a gap", bits(head + "10" + front + usual + "11111111 00000111")),
        ("a gap of 256", bits(head + "10" + front + usual + "11111111 11111111")),
    ):
        out.append(vector(f"batch: {about}", "unbatch", body, 1))
    if out[1]["args"][0] != written["result"]:
        raise ValueError("the parts of a batch are not put together as batch.encode does")
    # rh, of 0 to 1000, with k 12: the eight ones are without need whatever follows, though 1010 is beyond the span.
    at = schema.index(R, "rh")
    only: list[Any] = [500 if i == at else None for i in range(len(missing))]
    whole = "1 " + "".join("0" if i == at else "10" for i in range(len(missing)))
    e, k = 1000, 5  # 1067 is beyond the range
    first = number(2 * 0 + (e - only[at]), k, 1000)
    chosen = "".join(_parameter(2 * 9 if i == at else 0) for i in range(len(missing)))
    for about, d in (
        ("eight ones without need, of a number beyond the span", "11111111 1111110010"),
        ("a number beyond the span", "0 001111110010"),
        ("as far away as can be", "0 000111110100"),
    ):
        out.append(vector(f"batch: {about}", "unbatch", bits(head + "00" + whole + first + chosen + d), 1))
    return out


def _parameter(n: int) -> str:
    """A number of parameter 0 and span 31, as its bits."""
    return number(n, 0, 31)


def number(d: int, k: int, span: int) -> str:
    """A number's bits; plain with k 31."""
    codes: list[int] = []
    wire_bits.put_number(codes, d, k, span)
    return "".join(format(code >> 5, f"0{code & 31}b") for code in codes if code & 31)
