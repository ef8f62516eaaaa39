"""Tables of schema versions that might come after one (or before it), out of a seeded random.Random."""

from __future__ import annotations

import random
from typing import Any

from felinar_wire import schema

from tests.protocol import messages

Table = tuple[Any, ...]
Tables = dict[int, Table]
Values = list[Any]
FIXED = (schema.HELLO, schema.QUERY, schema.TIME, schema.TIME_REQ, schema.ACK)  # their base fields never change
KINDS = messages.KINDS
LOOSE = [kind for kind in KINDS if kind not in FIXED]
_TALK = [schema.REPORT, schema.EVENT, schema.HEALTH, schema.LAMP_SET, schema.CONFIG, schema.SCHEDULE, schema.RESULT]
CHANGES = ("range", "resolution", "rule", "name", "unit", "removed", "inserted", "swapped")


def _rule(rng: random.Random, at: int, low: int, high: int, kind: int) -> tuple[int, ...] | None:
    """A rule for field number `at`: of any form that the schema describes, from fields before it."""
    if rng.random() < 0.3:
        return _plain(kind, low)
    source = rng.randrange(-1, at)
    front = (rng.randrange(0, 13), rng.randint(low, high), source, rng.choice([0, 64, -131]))
    behind = (rng.choice([-1, 0, 2, 5, -2, -4]), rng.choice([-1, rng.randrange(at)]), rng.choice([0, 64, 9]))
    if rng.random() < 0.2:
        behind = (rng.choice([0, 3, -3]), -2 - rng.randrange(at), rng.choice([300, 3600]))
    return front + behind


def _plain(kind: int, low: int) -> tuple[int, ...] | None:
    """No rule; in a report, whose batches need one, that of a field which is expected as it was."""
    return (3, low, -1, 0, 2, -1, 0) if kind == schema.REPORT else None


def _new(rng: random.Random, name: str, at: int, kind: int) -> tuple[Any, ...]:
    low = rng.choice([0, -100, -150])
    high = low + rng.choice([1, 100, 65535, 0x3FFFFFFF])
    return (name, rng.choice(["", "ppm", "W"]), 1, rng.choice([1, 10, 100]), low, high, _rule(rng, at, low, high, kind))


def appended(rng: random.Random, tables: Tables, version: int, kinds: list[int] | None = None) -> Tables:
    """One to three fields appended, to any messages or to those named."""
    out = dict(tables)
    for i in range(rng.randint(1, 3)):
        kind = rng.choice(kinds or KINDS)
        out[kind] = (*out[kind], (*_new(rng, f"new{version}{i}", len(out[kind]), kind), version))
    return out


def altered(rng: random.Random, tables: Tables, kind: int, change: str) -> Tables:
    """One base field of a message altered, which makes it another message."""
    size = schema.base(tables[kind])
    base, behind = list(tables[kind][:size]), list(tables[kind][size:])
    # The first fields tell time and start of a kept message: those stay what they are.
    free = range(2, size) if kind in (schema.REPORT, schema.EVENT) else range(size)
    at = rng.choice(free)
    name, unit, numerator, denominator, low, high, rule = base[at]
    if change == "range":
        base[at] = (name, unit, numerator, denominator, low, high + rng.choice([1, 1000]), rule)
    elif change == "resolution":
        base[at] = (name, unit, 1, denominator * rng.choice([2, 10]), low, high, rule)
    elif change == "rule":
        base[at] = (name, unit, numerator, denominator, low, high, (5, low, -1, 0, 1, -1, 0))
    elif change == "name":
        base[at] = (name + "_", unit, numerator, denominator, low, high, rule)
    elif change == "unit":
        base[at] = (name, unit + "/d", numerator, denominator, low, high, rule)
    elif change == "inserted":
        base.append(_new(rng, "inserted", size, kind))
        behind = _moved(behind, kind)
    elif change == "swapped" and len(free) > 1:
        other = rng.choice([i for i in free if i != at])
        base[at], base[other] = base[other], base[at]
        base, behind = _moved(base, kind), _moved(behind, kind)
    elif len(free) > 1:
        del base[at]
        base, behind = _moved(base, kind), _moved(behind, kind)
    else:
        return altered(rng, tables, kind, "inserted")
    return {**tables, kind: (*base, *behind)}


def _moved(fields: list[Any], kind: int) -> list[Any]:
    """Fields whose places have changed, and so what they were expected from."""
    return [(*field[:6], _plain(kind, field[4]), *field[7:]) for field in fields]


def values(rng: random.Random, table: Table) -> Values:
    special = rng.choice([0.0, 0.0, 0.02, 0.3])
    return [messages.value(rng, field, special) for field in table]


def later(rng: random.Random, table: Table, old: Values) -> Values:
    """Values that follow on others: some far away, most near, some the same."""
    wild = rng.choice([0.0, 0.05, 0.3])
    new: Values = []
    for before, field in zip(old, table, strict=True):
        if rng.random() < wild:
            new.append(messages.value(rng, field, 0.3))
        elif isinstance(before, int) and rng.random() < 0.7:
            new.append(max(field[4], min(field[5], before + int(rng.gauss(0, rng.choice([1, 10, 300]))))))
        else:
            new.append(before)
    return new


def seen(table: Table, given: Values) -> Values:
    """The values as a receiver with the same table is to see them."""
    return [
        (schema.UNDER if one < field[4] else schema.OVER if one > field[5] else one) if isinstance(one, int) else one
        for one, field in zip(given, table, strict=True)
    ]


def padded(given: Values, table: Table) -> Values:
    """The values as a receiver sees them whose table has more, or fewer, appended fields."""
    return [*given, *[None] * len(table)][: len(table)]


def past_and_future(rng: random.Random) -> dict[int, Tables]:
    """Versions 1 to 4, of which a host knows the first three: 3 is what its code is written for, 4 a newer node's."""
    second = dict(schema.TABLE)
    first = second
    for kind in rng.sample(_TALK, rng.randint(0, 3)):
        # Older base fields: this one was altered when version 2 came.
        first = altered(rng, first, kind, rng.choice([c for c in CHANGES if c != "unit"]))
    third = appended(rng, second, 3)
    fourth = third
    for kind in rng.sample(_TALK, rng.randint(0, 2)):
        fourth = altered(rng, fourth, kind, rng.choice([c for c in CHANGES if c != "unit"]))
    return {1: first, 2: second, 3: third, 4: appended(rng, fourth, 4)}
