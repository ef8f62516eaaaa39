"""Messages to bits and back, as the table in `schema` says."""

from felinar_wire import bits, schema
from felinar_wire.errors import WireError

try:
    from micropython import const
except ImportError:

    def const(value: int) -> int:
        return value


_LIMIT = const(10)  # a Rice code's quotient from here on is an escape to the plain number


def _width(low: int, high: int) -> int:
    n = 0
    span = high - low
    while span:
        span >>= 1
        n += 1
    return n


def _plain(codes: list[int], value: int, width: int) -> None:
    if width > 16:
        codes.append((value >> 16) << 5 | width - 16)
        value &= 0xFFFF
        width = 16
    codes.append(value << 5 | width)


def _encode(table: tuple[tuple[object, ...], ...], values: list[int | str | None], codes: list[int], special: bool) -> bool:
    i = 0
    for _name, _unit, _num, _den, low, high, rule in table:
        value = values[i]
        i += 1
        if value is None and special:
            continue
        if not low <= value <= high:
            return False
        if rule:
            k, constant, source, slope = rule
            rest = value - constant
            if source >= 0:
                rest -= (values[source] or 0) * slope >> 4
            rest = rest << 1 if rest >= 0 else -rest * 2 - 1
            quotient = rest >> k
            if quotient < _LIMIT:
                codes.append(((2 << quotient) - 2 << k | rest & (1 << k) - 1) << 5 | quotient + 1 + k)
                continue
            codes.append((1 << _LIMIT) - 1 << 5 | _LIMIT)
        _plain(codes, value - low, _width(low, high))
    return True


def encode(kind: int, values: list[int | str | None]) -> bytes:
    """The body of a message from its values in field order (integers in steps, None, UNDER or OVER).

    A number beyond its field's range becomes UNDER or OVER. Raises WireError: "kind", "values" (wrong count), "type".
    """
    table = schema.TABLE.get(kind)
    if table is None:
        raise WireError("kind")
    if len(values) != len(table):
        raise WireError("values")
    codes = [1]
    try:
        if _encode(table, values, codes, False):
            return bits.pack(codes)
    except TypeError:
        pass
    codes = [1 << 5 | 1]
    plain: list[int | str | None] = []
    for field, value in zip(table, values):  # noqa: B905 (MicroPython's zip has no strict)
        flag = 0
        if value is None:
            flag = 2
        elif value == schema.UNDER:
            flag = 6
        elif value == schema.OVER:
            flag = 7
        elif not isinstance(value, int):
            raise WireError("type")
        elif value < field[4]:
            flag = 6
        elif value > field[5]:
            flag = 7
        codes.append(flag << 5 | (3 if flag > 2 else 2 if flag else 1))
        plain.append(None if flag else value)
    _encode(table, plain, codes, True)
    return bits.pack(codes)


def _mark(take: object) -> int | str | None:
    # 0 a plain number, 10 missing, 110 under, 111 over
    if not take(1):
        return 0
    if not take(1):
        return None
    return schema.OVER if take(1) else schema.UNDER


def decode(kind: int, body: bytes) -> list[int | str | None]:
    """The values of a message from its body.

    Raises WireError: "kind", "short", "trailing", "range" (a number that the field can't have), "coding" (not the one
    way in which the encoder writes it).
    """
    table = schema.TABLE.get(kind)
    if table is None:
        raise WireError("kind")
    reader = bits.Reader(body)
    take = reader.take
    marks = [0] * len(table)
    if take(1):
        marks = [_mark(take) for _ in table]
        if not any(mark != 0 for mark in marks):
            raise WireError("coding")
    values: list[int | str | None] = []
    for mark, (_name, _unit, _num, _den, low, high, rule) in zip(marks, table):  # noqa: B905
        value = mark
        if value == 0:
            escaped = False
            if rule:
                k, constant, source, slope = rule
                if source >= 0:
                    base = values[source]
                    if isinstance(base, int):
                        constant += base * slope >> 4
                quotient = reader.ones(_LIMIT)
                escaped = quotient == _LIMIT
                if not escaped:
                    rest = quotient << k | take(k)
                    value = constant + (-(rest + 1 >> 1) if rest & 1 else rest >> 1)
            if escaped or not rule:
                width = _width(low, high)
                value = low
                if width > 16:
                    value += take(width - 16) << 16
                    width = 16
                value += take(width)
                if escaped:
                    rest = value - constant
                    if (rest << 1 if rest >= 0 else -rest * 2 - 1) >> k < _LIMIT:
                        raise WireError("coding")
            if not low <= value <= high:
                raise WireError("range")
        values.append(value)
    reader.end()
    return values
