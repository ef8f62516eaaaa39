"""Opens the batches that nodes send; the counterpart of `felinar_wire.batch`, which only nodes need."""

from felinar_wire import batch, bits, codec, schema
from felinar_wire.errors import WireError


def _number(reader: bits.Reader, span: int) -> int:
    """The counterpart of `bits.put_number` with parameter 0."""
    ones = 0
    while reader.take(1):
        ones += 1
        if ones == bits.ESCAPE:
            ones = reader.take(bits.width(span))
            if ones < bits.ESCAPE:
                raise WireError("coding")
            break
    if ones > span:
        raise WireError("range")
    return ones


def decode(body: bytes, seq: int, tables: "schema.Tables" = schema.TABLE) -> "list[tuple[int, schema.Values]]":
    """The reports (seq, values) of a batch whose first one has the given seq.

    `tables` is the table of the schema version that the node announced. Raises WireError: "count", "short",
    "trailing", "range", "coding" (marks, lags or an escaped number not written in the one way). The Rice parameters
    are the sender's choice: any that can be written are read.
    """
    table = tables[schema.REPORT]
    size = len(table)
    reader = bits.Reader(body)
    count = reader.take(8)
    if not count:
        raise WireError("count")
    gaps = reader.take(1)
    varied = reader.take(1)
    usual: schema.Values = [0] * size
    marks = codec.get_marks(reader, usual)
    numbers: schema.Numbers = [0 if mark == 0 else None for mark in marks]
    codec.walk(table, 0, size, numbers, None, 0, False, None, None, reader)
    rows: list[tuple[int, schema.Values]] = [(seq, _values(numbers, marks))]
    parameters = batch.usual(table)
    if count > 1:
        for i in range(size):
            away = _number(reader, 31)
            parameters[i] += -(away + 1 >> 1) if away & 1 else away >> 1
            if not -1 <= parameters[i] <= 12:
                raise WireError("range")
    had_gap = had_change = False
    for _ in range(1, count):
        lag = 1
        if gaps:
            lag += _number(reader, 255)
            had_gap = had_gap or lag > 1
        seq += lag
        old = numbers
        if varied:
            before = marks
            marks = codec.get_marks(reader, marks)
            had_change = had_change or marks != before
        numbers = [0 if mark == 0 else None for mark in marks]
        codec.walk(table, 0, size, numbers, old, lag, False, parameters, None, reader)
        rows.append((seq, _values(numbers, marks)))
    if reader.end() != len(body):
        raise WireError("trailing")
    if gaps != had_gap or varied != had_change:
        raise WireError("coding")
    return rows


def _values(numbers: "schema.Numbers", marks: "schema.Values") -> "schema.Values":
    return [number if mark == 0 else mark for number, mark in zip(numbers, marks)]  # noqa: B905 (runs on MicroPython)
