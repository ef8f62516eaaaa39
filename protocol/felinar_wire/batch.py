"""Several reports of one boot in one body: the first whole, each other against the one before it.

Each field has one Rice parameter for the whole batch, as the columns of a table would.
"""

from felinar_wire import bits, codec, schema
from felinar_wire.errors import WireError


def usual(table: "schema.Table") -> "list[int]":
    """The parameter that each field has unless the batch says another: that of a difference, -1 for a steady field."""
    out = []
    for field in table:
        rule = field[6]
        out.append(max(-1, rule[0] if rule[4] == -1 else rule[4]) if rule else bits.PLAIN)
    return out


def encode(rows: "list[tuple[int, schema.Values]]") -> bytes:
    """The body of 1 to 255 reports (seq, values) of one boot in rising seq; the first one's seq is told outside it.

    Raises WireError: "count", "order" (seq not rising, or by more than 256), "values", "type".
    """
    table = schema.TABLE[schema.REPORT]
    size = len(table)
    if not 0 < len(rows) < 256:
        raise WireError("count")
    lags = []
    numbers: "list[schema.Numbers]" = []
    marks: "list[schema.Values]" = []
    columns = []
    gaps = varied = seq = 0
    for row in rows:
        now, mark = codec.sort(table, row[1])
        lag = row[0] - seq
        seq = row[0]
        if numbers:
            if not 0 < lag < 257:
                raise WireError("order")
            rests = [-1] * size
            codec.walk(table, 0, size, now, numbers[-1], lag, False, rests, None, None)
            columns.append(rests)
            if lag > 1:
                gaps = 1
            if mark != marks[-1]:
                varied = 1
        lags.append(lag)
        numbers.append(now)
        marks.append(mark)
    codes = [len(rows) << 5 | 8, gaps << 5 | 1, varied << 5 | 1]
    codec.put_marks(codes, marks[0], [0] * size)
    codec.walk(table, 0, size, numbers[0], None, 0, False, None, codes, None)
    parameters = usual(table)
    for i in range(size):
        column = [rests[i] for rests in columns if rests[i] >= 0]
        # The power of two that is not above the mean: close to the best, found without trying any.
        total = sum(column)
        k = 0 if total else -1
        while 0 <= k < 12 and len(column) << k + 1 <= total:
            k += 1
        away = k - parameters[i]
        parameters[i] = k
        if columns:
            bits.put_number(codes, 2 * away if away >= 0 else -2 * away - 1, 0, 31)
    for i in range(1, len(rows)):
        if gaps:
            bits.put_number(codes, lags[i] - 1, 0, 255)
        if varied:
            codec.put_marks(codes, marks[i], marks[i - 1])
        codec.walk(table, 0, size, numbers[i], numbers[i - 1], lags[i], False, parameters, codes, None)
    return bits.pack(codes)
