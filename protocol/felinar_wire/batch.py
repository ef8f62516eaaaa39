"""Several reports of one boot as columns: each field has one Rice parameter for the whole batch."""

from felinar_wire import bits, codec, schema
from felinar_wire.errors import WireError

MYPY = False
if MYPY:
    from felinar_wire.typed import Table, Values


def usual(table: "Table") -> "list[int]":
    """The parameter that each field has by default: that of a difference in time, -1 (all as expected) if steady."""
    out = []
    for field in table:
        rule = field[6]
        k = -1
        if rule:
            k = rule[0] if rule[4] == -1 else rule[4]
            if k < -1 or k > 30:
                k = -1
        out.append(k)
    return out


def _cost(column: "list[int]", k: int) -> int:
    # Bits of a column under parameter k, an escape taken as 16 more; -1 can only hold zeros.
    total = 0
    for rest in column:
        if rest >= 0:
            if k < 0:
                if rest:
                    return 1 << 28
            else:
                ones = rest >> k
                total += k + 1 + ones if ones < bits.ESCAPE else 26
    return total


def _choose(column: "list[int]", default: int) -> int:
    best = default
    least = _cost(column, default)
    for k in range(-1, 14):
        if k != default:
            cost = _cost(column, k) + 2 * (k - default) - 1 if k > default else _cost(column, k) + 2 * (default - k)
            if cost < least:
                least = cost
                best = k
    return best


def encode(rows: "list[tuple[int, Values]]") -> bytes:
    """A body from 1 to 255 reports (seq, values) of one boot in rising seq; the first one's seq is told elsewhere.

    Raises WireError: "count", "order", "values", "type".
    """
    table = schema.TABLE[schema.REPORT]
    count = len(rows)
    if not 0 < count < 256:
        raise WireError("count")
    special = []
    plain = []
    lags = []
    varied = gaps = False
    for seq, values in rows:
        mark = codec.marks(table, values)
        lag = seq - lags[-1][0] if lags else 0
        if lags:
            if lag < 1 or lag > 65536:
                raise WireError("order")
            gaps = gaps or lag > 1
            varied = varied or mark != special[-1]
        lags.append((seq, lag))
        special.append(mark)
        plain.append(codec.numbers(values, mark))
    codes: "list[int]" = [count << 5 | 8, gaps << 5 | 1, varied << 5 | 1]
    columns: "list[list[int]]" = []
    for i in range(1, count):
        folded: "list[int]" = []
        codec.walk(None, table, plain[i], plain[i - 1], lags[i][1], False, folded)
        columns.append(folded)
    parameters = usual(table)
    for i in range(len(table)):
        if table[i][6] and count > 1:
            default = parameters[i]
            k = parameters[i] = _choose([row[i] for row in columns], default)
            rest = 2 * (k - default) - 1 if k > default else 2 * (default - k)
            codes.append(((2 << rest) - 2) << 5 | rest + 1)
    codec.put_marks(codes, special[0], [0] * len(table))
    codec.walk(codes, table, plain[0], None, 0, False, None)
    for i in range(1, count):
        lag = lags[i][1]
        if gaps:
            if lag < 9:
                codes.append((2 << lag - 1) - 2 << 5 | lag)
            else:
                codes.append(255 << 5 | 8)
                codes.append(lag - 1 << 5 | 16)
        if varied:
            codec.put_marks(codes, special[i], special[i - 1])
        codec.walk(codes, table, plain[i], plain[i - 1], lag, False, parameters)
    return bits.pack(codes)
