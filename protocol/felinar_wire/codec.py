"""Messages to bits and back, as the table in `schema` says: whole, or against a report that both sides hold."""

from felinar_wire import bits, schema
from felinar_wire.errors import WireError

_ESCAPE = bits.ESCAPE

MYPY = False
if MYPY:
    from felinar_wire.typed import Field, Numbers, Table, Values


def _width(span: int) -> int:
    n = 0
    while span:
        span >>= 1
        n += 1
    return n


def _plain(codes: "list[int]", value: int, width: int) -> None:
    if width > 16:
        codes.append((value >> 16) << 5 | width - 16)
        value &= 0xFFFF
        width = 16
    codes.append(value << 5 | width)


def marks(table: "Table", values: "Values") -> "Values":
    """What is special about each value: 0 for a plain number, else None, UNDER or OVER. WireError("values", "type")."""
    if len(values) != len(table):
        raise WireError("values")
    out: "Values" = []
    for i in range(len(table)):
        value = values[i]
        if value is None or value == schema.UNDER or value == schema.OVER:
            out.append(value)
        elif not isinstance(value, int):
            raise WireError("type")
        else:
            field = table[i]
            out.append(schema.UNDER if value < field[4] else schema.OVER if value > field[5] else 0)
    return out


def numbers(values: "Values", special: "Values") -> "list[int | None]":
    """The values with None in place of whatever is special."""
    return [None if special[i] != 0 else values[i] for i in range(len(values))]  # type: ignore[misc]


def put_marks(codes: "list[int]", special: "Values", old: "Values") -> None:
    """One bit when the marks are those of the old report, else each: 0 number, 10 missing, 110 under, 111 over."""
    if special == old:
        codes.append(1)
        return
    codes.append(1 << 5 | 1)
    for mark in special:
        codes.append(1 if mark == 0 else 2 << 5 | 2 if mark is None else (7 if mark == schema.OVER else 6) << 5 | 3)


def expect(field: "Field", i: int, values: "Numbers", old: "Numbers | None", lag: int) -> int:
    """What the table lets one expect of number i, within its range; the values before it are known."""
    _name, _unit, _num, _den, low, high, rule = field
    _k, want, source, slope, history_k, history, growth = rule
    before = old[i] if old and history_k != -1 else None
    if before is None:
        if source >= 0:
            want += (values[source] or 0) * slope >> 6
    elif history == -1:
        want = before + growth * lag
    else:
        want = before
        at = history if history >= 0 else -2 - history
        now = values[at]
        if now is not None:
            if history >= 0:
                if old[at] is not None:
                    want += (now - old[at]) * growth >> 6
            elif values[0] is not None and old[0] is not None:
                want += now * (values[0] - old[0]) // growth
    return low if want < low else high if want > high else want


def walk(codes, table: "Table", values: "Numbers", old: "Numbers | None", lag: int, steady: bool, parameters) -> bool:
    """Append the codes of all numbers; False when a steady field is not as expected although `steady` says so.

    `parameters` is None or has the Rice parameter of each field, -1 for one that is as expected.
    With `codes` None nothing is coded and the folded differences are appended to `parameters` (-1 where there is none).
    """
    for i in range(len(table)):
        value = values[i]
        if value is None:
            if codes is None:
                parameters.append(-1)
            continue
        field = table[i]
        low = field[4]
        rule = field[6]
        if rule:
            want = expect(field, i, values, old, lag)
            room = want - low
            if field[5] - want < room:
                room = field[5] - want
            rest = value - want
            if rest < 0:
                rest = -rest
                rest = rest * 2 - 1 if rest <= room else rest + room
            else:
                rest = rest * 2 if rest <= room else rest + room
            if codes is None:
                parameters.append(rest)
                continue
            k = rule[0]
            if old and rule[4] != -1 and old[i] is not None:
                k = rule[4]
                if k < -1:
                    if steady:
                        if rest:
                            return False
                        continue
                    k = -2 - k
                elif lag >= schema.FAR:
                    k += 1
            if parameters:
                k = parameters[i]
                if k < 0:
                    continue
            ones = rest >> k
            if k < 31:
                if ones < _ESCAPE:
                    ones = (2 << ones) - 2 << 5 | ones + 1
                    rest &= (1 << k) - 1
                    if k < 13:
                        codes.append((ones & -32) << k | rest << 5 | (ones & 31) + k)
                    else:
                        codes.append(ones)
                        _plain(codes, rest, k)
                    continue
                codes.append((1 << _ESCAPE) - 1 << 5 | _ESCAPE)
        elif codes is None:
            parameters.append(-1)
            continue
        _plain(codes, value - low, _width(field[5] - low))
    return True


def _section(table: "Table", values: "Values", old: "Values | None", lag: int) -> bytes:
    special = marks(table, values)
    plain = numbers(values, special)
    if old is None:
        codes: "list[int]" = []
        put_marks(codes, special, [0] * len(table))
        walk(codes, table, plain, None, 0, False, None)
        return bits.pack(codes)
    old_special = marks(table, old)
    before = numbers(old, old_special)
    for steady in (1, 0):
        codes = []
        put_marks(codes, special, old_special)
        codes.append((1 - steady) << 5 | 1)
        if walk(codes, table, plain, before, lag, steady, None):
            break
    return bits.pack(codes)


def encode(kind: int, values: "Values", old: "Values | None" = None, lag: int = 0) -> bytes:
    """The body of a message from its values in field order (integers in steps, None, UNDER or OVER).

    A number beyond its field's range becomes UNDER or OVER. With `old`, the values of a message of the same kind that
    the receiver is known to hold and whose seq is `lag` lower, the body is the difference from it.
    Raises WireError: "kind", "values" (wrong count), "type".
    """
    table = schema.TABLE.get(kind)
    if table is None:
        raise WireError("kind")
    return _section(table, values, old, lag)


def get_marks(reader: "bits.Reader", old: "Values") -> "Values":
    """The counterpart of `put_marks`."""
    take = reader.take
    if not take(1):
        return old
    special: "Values" = []
    for _ in old:
        special.append(0 if not take(1) else None if not take(1) else schema.OVER if take(1) else schema.UNDER)
    if special == old:
        raise WireError("coding")
    return special


def unwalk(
    reader: "bits.Reader", table: "Table", special: "Values", old: "Numbers | None", lag: int, steady: bool, parameters
) -> "Values":
    """The counterpart of `walk`: the values, special ones included."""
    values = []
    plain = []
    for i in range(len(table)):
        value = special[i]
        if value != 0:
            values.append(value)
            plain.append(None)
            continue
        field = table[i]
        low = field[4]
        rule = field[6]
        rest = k = -1
        if rule:
            want = expect(field, i, plain, old, lag)
            room = want - low
            span = field[5] - want
            if span < room:
                room = span
            k = rule[0]
            if old and rule[4] != -1 and old[i] is not None:
                k = rule[4]
                if k < -1:
                    k = -1 if steady else -2 - k
                elif lag >= schema.FAR:
                    k += 1
            if parameters:
                k = parameters[i]
            rest = 0 if k < 0 else -1 if k == 31 else reader.rice(k)
            if rest >= 0:
                if rest > room * 2:
                    rest -= room
                    value = want + rest if span > room else want - rest
                else:
                    value = want - (rest + 1 >> 1) if rest & 1 else want + (rest >> 1)

        if rest < 0:
            value = low + reader.take(_width(field[5] - low))
            if k >= 0 and k < 31:
                rest = value - want
                if rest < 0:
                    rest = -rest
                    rest = rest * 2 - 1 if rest <= room else rest + room
                else:
                    rest = rest * 2 if rest <= room else rest + room
                if rest >> k < _ESCAPE:
                    raise WireError("coding")
        if not low <= value <= field[5]:
            raise WireError("range")
        values.append(value)
        plain.append(value)
    return values


def decode(kind: int, body: bytes, old: "Values | None" = None, lag: int = 0) -> "Values":
    """The values of a message from its body; `old` and `lag` as for `encode`.

    Raises WireError: "kind", "short", "trailing", "range" (a number that the field can't have), "coding" (not the one
    way in which the encoder writes it).
    """
    table = schema.TABLE.get(kind)
    if table is None:
        raise WireError("kind")
    reader = bits.Reader(body)
    before = None
    steady = False
    old_special: "Values" = [0] * len(table)
    if old is not None:
        old_special = marks(table, old)
        before = numbers(old, old_special)
    special = get_marks(reader, old_special)
    if old is not None:
        steady = not reader.take(1)
    values = unwalk(reader, table, special, before, lag, steady, None)
    if reader.end() != len(body):
        raise WireError("trailing")
    return values
