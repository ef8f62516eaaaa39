"""Random messages for the protocol's tests, out of a seeded random.Random, so that a failing seed replays."""

from __future__ import annotations

import random
from typing import Any

from felinar_wire import core, schema

KINDS = sorted(schema.TABLE)
Values = list[int | str | None]


def value(rng: random.Random, field: Any, special: float = 0.05) -> int | str | None:
    """A value of a field: anywhere in its range, at its edges, somewhat beyond them, missing or saturated."""
    low, high = field[4], field[5]
    if rng.random() < special:
        return rng.choice([None, schema.UNDER, schema.OVER, low - 1, high + 1, low - 100_000, high + (1 << 33)])
    shape = rng.random()
    if shape < 0.2:
        return int(rng.choice([low, high, low + 1, high - 1, (low + high) // 2]))
    if shape < 0.6 and field[6]:
        return max(low, min(high, int(rng.gauss(field[6][1], 4 + (high - low) / 200))))
    return rng.randint(low, high)


def values(rng: random.Random, kind: int) -> Values:
    special = rng.choice([0.0, 0.0, 0.02, 0.3])
    return [value(rng, field, special) for field in schema.fields(kind)]


LAYOUTS = [*core.LAYOUT.values(), *core.BRIDGE.values()]


def frozen(rng: random.Random, layout: str) -> list[int | str]:
    """Values of a message of whole bytes: numbers at the edges or anywhere in their range, bytes as hex."""
    out: list[int | str] = []
    for _, code in core.fields(layout):
        n = core.size(code)
        if code.isalpha():
            low = -(1 << 8 * n - 1) if code.islower() else 0
            high = low + (1 << 8 * n) - 1
            out.append(rng.choice([low, high, 0, rng.randint(low, high)]))
        else:
            out.append(rng.randbytes(n if n >= 0 else rng.choice([0, 1, 200])).hex())
    return out


def later(rng: random.Random, kind: int, old: Values) -> Values:
    """Values that follow on others as the next report does: most a little further, some the same, a few anywhere."""
    wild = rng.choice([0.0, 0.05, 0.3])
    new: Values = []
    for before, field in zip(old, schema.fields(kind), strict=True):
        if rng.random() < wild:
            new.append(value(rng, field, 0.3))
        elif isinstance(before, int) and rng.random() < 0.8:
            step = before + int(rng.gauss(0, rng.choice([1, 10, 300])))
            new.append(max(field[4], min(field[5], step)))
        else:
            new.append(before)
    if rng.random() < 0.5 and isinstance(old[0], int) and isinstance(old[1], int):
        new[0], new[1] = min(old[0] + 300, schema.fields(kind)[0][5]), min(old[1] + 300, schema.fields(kind)[1][5])
    return new


def seen(kind: int, given: Values) -> Values:
    """The values as the receiver is to see them: a number beyond its range is UNDER or OVER."""
    out: Values = []
    for one, field in zip(given, schema.fields(kind), strict=True):
        if isinstance(one, int):
            out.append(schema.UNDER if one < field[4] else schema.OVER if one > field[5] else one)
        else:
            out.append(one)
    return out


def rows(rng: random.Random, count: int) -> list[tuple[int, Values]]:
    """A batch's reports: rising seq, now and then with gaps."""
    seq = rng.randrange(1 << 20)
    out = [(seq, values(rng, schema.REPORT))]
    gaps = rng.random() < 0.3
    for _ in range(count - 1):
        seq += rng.choice([1, 1, 2, 9, 256]) if gaps else 1
        out.append((seq, later(rng, schema.REPORT, out[-1][1])))
    return out
