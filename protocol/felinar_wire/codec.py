"""Messages to bits and back, as the table in `schema` says: whole, or against a report that both sides hold."""

from felinar_wire import bits, schema
from felinar_wire.errors import WireError


def sort(table: "schema.Table", values: "schema.Values") -> "tuple[schema.Numbers, schema.Values]":
    """(numbers, None where there is none; marks, 0 for a number, else None, UNDER or OVER) of a list of values.

    Raises WireError: "values" (wrong count), "type".
    """
    numbers: "schema.Numbers" = []
    marks: "schema.Values" = []
    if len(values) != len(table):
        raise WireError("values")
    for i in range(len(table)):
        value = mark = values[i]
        if value is not None and value != schema.UNDER and value != schema.OVER:
            if type(value) is not int:  # True is one to isinstance, though not on every interpreter
                raise WireError("type")
            mark = schema.UNDER if value < table[i][4] else schema.OVER if value > table[i][5] else 0
        marks.append(mark)
        numbers.append(value if mark == 0 else None)  # type: ignore[arg-type]
    return numbers, marks


def put_marks(codes: "list[int]", marks: "schema.Values", usual: "schema.Values") -> None:
    """One bit 0 when the marks are the usual ones; else 1 and each: 0 number, 10 missing, 110 under, 111 over."""
    if marks == usual:
        codes.append(1)
        return
    codes.append(33)
    for mark in marks:
        codes.append(1 if mark == 0 else 66 if mark is None else 227 if mark == schema.OVER else 195)


def get_marks(reader: "bits.Reader", usual: "schema.Values") -> "schema.Values":
    """The counterpart of `put_marks`; WireError("coding") for the usual marks the long way."""
    take = reader.take
    if not take(1):
        return usual
    marks: "schema.Values" = []
    for _ in usual:
        marks.append(0 if not take(1) else None if not take(1) else schema.OVER if take(1) else schema.UNDER)
    if marks == usual:
        raise WireError("coding")
    return marks


def walk(
    table: "schema.Table",
    first: int,
    last: int,
    numbers: "schema.Numbers",
    old: "schema.Numbers | None",
    lag: int,
    steady: bool,
    parameters: "list[int] | None",
    codes: "list[int] | None",
    reader: "bits.Reader | None",
) -> int:
    """Write fields first to last - 1 to `codes`, or read those that are not None from `reader` into `numbers`.

    Each goes as a number that counts away from what the table lets one expect: 0 expected, 1 one below, 2 one above and
    so on, and on alone where only one side has room left. `parameters`, if any, are the Rice parameters of the fields,
    -1 for one that is as expected throughout; with neither codes nor reader the numbers are put there instead.
    Returns 0; 1 when a steady field is not as expected although `steady` says so; 2 for a number beyond its range.
    """
    before = None
    if reader:
        data = reader.data
        at = reader.at
        acc = reader.acc
        held = reader.held
    for i in range(first, last):
        value = numbers[i]
        if value is None:
            continue
        field = table[i]
        low = field[4]
        high = field[5]
        rule = field[6]
        if old:
            before = old[i]
        if codes and not (low <= value <= high and (before is None or low <= before <= high)):
            return 2
        want = low
        k = 31
        if rule:
            k, want, source, slope, history_k, history, growth = rule
            if before is None or history_k == -1:
                if source >= 0:
                    want += (numbers[source] or 0) * slope >> 6
            else:
                k = history_k
                if k < -1:
                    k = -1 if steady else -2 - k
                elif lag >= schema.FAR:
                    k += 1
                want = before
                if history == -1:
                    want += growth * lag
                else:
                    place = history if history >= 0 else -2 - history
                    now = numbers[place]
                    if now is not None:
                        was = old[place if history >= 0 else 0]  # type: ignore[index]
                        time = numbers[0]
                        if was is not None:
                            if history >= 0:
                                want += (now - was) * growth >> 6
                            elif time is not None:
                                want += now * (time - was) // growth
            if parameters:
                k = parameters[i]
            if want < low:
                want = low
            elif want > high:
                want = high
        if reader:
            rest = 0
            if k >= 0:
                ones = 8
                if k < 31:
                    while held < 21 and at < len(data):
                        acc = acc << 8 | data[at]
                        at += 1
                        held += 8
                    ones = 0
                    while ones < 8:
                        held -= 1
                        if held < 0:
                            raise WireError("short")
                        if not acc >> held & 1:
                            break
                        ones += 1
                if ones < 8 and k <= held:
                    held -= k
                    rest = ones << k | acc >> held & (1 << k) - 1
                    acc &= (1 << held) - 1
                else:
                    reader.at = at
                    reader.acc = acc & (1 << held) - 1
                    reader.held = held
                    if ones < 8:
                        rest = ones << k | reader.take(k)
                    else:
                        rest = reader.take(bits.width(high - low))
                        if k < 31 and rest >> k < 8:
                            raise WireError("coding")
                    at = reader.at
                    acc = reader.acc
                    held = reader.held
            if rest:
                if rest > high - low:
                    raise WireError("range")
                room = want - low
                above = high - want
                if above < room:
                    room = above
                if rest > room + room:
                    rest -= room
                    if rest > above:
                        rest = -rest
                elif rest & 1:
                    rest = -(rest + 1 >> 1)
                else:
                    rest >>= 1
            numbers[i] = want + rest
            continue
        rest = value - want
        if rest:
            room = want - low
            above = high - want
            if above < room:
                room = above
            if rest < 0:
                rest = -rest
                rest = rest + rest - 1 if rest <= room else rest + room
            else:
                rest = rest + rest if rest <= room else rest + room
        if codes is None:
            parameters[i] = rest  # type: ignore[index]
        elif k < 0:
            if rest:
                return 1
        else:
            ones = rest >> k
            if k < 13 and ones < 8:
                codes.append(((2 << ones) - 2 << k | rest & (1 << k) - 1) << 5 | ones + 1 + k)
            else:
                bits.put_number(codes, rest, k, high - low)
    if reader:
        reader.at = at
        reader.acc = acc
        reader.held = held
    return 0


def _plain(values: "schema.Values") -> bool:
    return all(type(value) is int for value in values)


def _special(values: "schema.Values") -> bool:
    return None in values or schema.UNDER in values or schema.OVER in values


def _write(
    table: "schema.Table",
    numbers: "schema.Numbers",
    old: "schema.Numbers | None",
    lag: int,
    marks: "schema.Values | None",
    usual: "schema.Values | None",
) -> "bytes | None":
    out = b""
    first = 0
    last = schema.base(table)
    steady = bool(old)
    while first < len(table):
        codes = [1]
        if marks and usual:
            codes = []
            put_marks(codes, marks[first:last], usual[first:last])
        if old:
            codes.append(1 if steady else 33)
        done = walk(table, first, last, numbers, old, lag, steady, None, codes, None)
        if done == 1:
            steady = False
            continue
        if done:
            return None
        out += bits.pack(codes)
        first = last
        last += 1
        steady = bool(old)
    return out


def encode(
    kind: int,
    values: "schema.Values",
    old: "schema.Values | None" = None,
    lag: int = 0,
    tables: "schema.Tables" = schema.TABLE,
) -> bytes:
    """The body of a message from its values in field order (integers in steps, None, UNDER or OVER).

    A number beyond its field's range becomes UNDER or OVER. With `old`, the values of a message of the same kind that
    the receiver is known to hold and whose seq is `lag` lower, the body is the difference from it.
    Raises WireError: "kind", "values" (wrong count), "type".
    """
    table = tables.get(kind)
    if not table:
        raise WireError("kind")
    out = None
    try:
        # The common case, nothing special in either, is tried first.
        if len(values) == len(table) and _plain(values) and not (old and _special(old)):
            out = _write(table, values, old, lag, None, None)  # type: ignore[arg-type]
    except (TypeError, IndexError):
        pass
    if not out:
        numbers, marks = sort(table, values)
        before = None
        usual: "schema.Values" = [0] * len(table)
        if old:
            before, usual = sort(table, old)
        out = _write(table, numbers, before, lag, marks, usual)
    return out  # type: ignore[return-value]


def decode(
    kind: int,
    body: bytes,
    old: "schema.Values | None" = None,
    lag: int = 0,
    newer: bool = False,
    tables: "schema.Tables" = schema.TABLE,
) -> "schema.Values":
    """The values of a message from its body; `old` and `lag` as for `encode`.

    An appended field that an older sender did not know is None. `newer` lets bytes behind the fields that are known
    pass, for frames whose seal shows that the sender shares the base fields.
    Raises WireError: "kind", "short", "trailing", "range" (a number that the field can't have), "coding" (not the one
    way in which the encoder writes it).
    """
    table = tables.get(kind)
    if not table:
        raise WireError("kind")
    usual: "schema.Values" = [0] * len(table)
    before = old
    if old and _special(old):
        before, usual = sort(table, old)  # type: ignore[assignment]
    numbers: "schema.Values" = []
    marks: "schema.Values" = []
    at = 0
    last = schema.base(table)
    while last <= len(table):
        first = len(numbers)
        if first and at == len(body):
            marks.append(None)
            numbers.append(None)
        else:
            reader = bits.Reader(body, at)
            plain = last - first == len(table)
            found = get_marks(reader, usual if plain else usual[first:last])
            if plain and not _special(found):
                numbers = found  # the common case spares two lists
            else:
                marks += found
                numbers += [None if mark else mark for mark in found]
            steady = bool(old) and not reader.take(1)
            walk(table, first, last, numbers, before, lag, steady, None, None, reader)  # type: ignore[arg-type]
            if old and not steady and not walk(table, first, last, numbers, before, lag, True, None, [1], None):  # type: ignore[arg-type]
                raise WireError("coding")
            at = reader.end()
        last += 1
    if at != len(body) and not newer:
        raise WireError("trailing")
    if None in numbers:
        numbers = [numbers[i] if marks[i] == 0 else marks[i] for i in range(len(marks))]
    return numbers
