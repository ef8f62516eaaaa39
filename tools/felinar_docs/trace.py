"""Reads a body bit by bit as the page tells, and says of each bit what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from felinar_wire import scale, schema

from felinar_docs import DocsError

if TYPE_CHECKING:
    from felinar_wire.schema import Field, Table, Value, Values

_MARKS = {"0": 0, "10": None, "110": schema.UNDER, "111": schema.OVER}


def fraction(numerator: int, denominator: int) -> str:
    """A size of a step."""
    return str(numerator) if denominator == 1 else f"{numerator / denominator:g}"


def physical(of: Field, step: Value) -> str:
    """A value of a field in its unit."""
    _, unit, numerator, denominator = of[:4]
    if not isinstance(step, int):
        return "missing" if step is None else f"{step} its range"
    if not numerator:
        lux = scale.millilux(step) / 1000
        return f"{lux:.0f} {unit}" if lux >= 100 else f"{lux:.3g} {unit}"
    digits = len(str(denominator)) - 1
    return f"{step if not digits else f'{step / denominator:.{digits}f}'} {unit}".strip()


@dataclass
class Trace:
    """The bits of a body, what was read of them so far, and a row (place, bits, what, meaning) for each."""

    body: bytes
    rows: list[tuple[int, str, str, str]] = field(default_factory=list)
    at: int = 0

    def take(self, count: int) -> str:
        """The next bits."""
        bits = "".join(f"{byte:08b}" for byte in self.body)[self.at : self.at + count]
        if len(bits) < count:
            raise DocsError(f"The example {self.body.hex()} ends within a value.")
        self.at += count
        return bits

    def say(self, start: int, bits: str, what: str, meaning: str) -> None:
        self.rows.append((start, bits, what, meaning))

    def number(self, k: int, span: int) -> tuple[int, str]:
        """A number coded with parameter k (31: plain), and its bits with spaces between their parts."""
        if k < 31:
            ones = 0
            while ones < 8 and self.take(1) == "1":
                ones += 1
            if ones < 8:
                rest = self.take(k) if k else ""
                return ones << k | int(rest or "0", 2), ("1" * ones + "0 " + rest).strip()
        plain = self.take(span.bit_length())
        return int(plain, 2), ("11111111 " if k < 31 else "") + plain

    def marks(self, usual: Values, names: list[str]) -> Values:
        start = self.at
        if self.take(1) == "0":
            self.say(start, "0", "marks", "as usual")
            return usual
        marks: Values = []
        bits = ""
        for _ in usual:
            one = ""
            while one not in _MARKS:
                one += self.take(1)
            bits += " " + one
            marks.append(_MARKS[one])
        said = [
            f"`{name}` {'missing' if mark is None else mark}"
            for name, mark in zip(names, marks, strict=True)
            if mark != 0
        ]
        self.say(start, "1" + bits, "marks", "one for each field: " + (", ".join(said) or "all are numbers"))
        return marks

    def end(self) -> None:
        """Nothing but zeros to the end of the byte."""
        if rest := -self.at % 8:
            self.say(self.at, self.take(rest), "", "filling")


def _unfold(rest: int, want: int, low: int, high: int) -> int:
    room = min(want - low, high - want)
    if rest <= 2 * room:
        return want - (rest + 1) // 2 if rest % 2 else want + rest // 2
    return want + rest - room if high - want > room else want - (rest - room)


def _expected(of: Field, numbers: Values, old: Values | None, i: int, lag: int, steady: bool) -> tuple[int, int]:
    """(expected value, parameter: -1 for nothing written) of field i."""
    low, high, rule = of[4:7]
    if rule is None:
        return low, 31
    k, want, source, slope, history_k, history, growth = rule
    before = old[i] if old else None
    if not isinstance(before, int) or history_k == -1:
        other = numbers[source] if source >= 0 else 0
        want += (other if isinstance(other, int) else 0) * slope >> 6 if source >= 0 else 0
    else:
        assert old is not None
        k = history_k + (lag >= schema.FAR) if history_k >= 0 else -1 if steady else -2 - history_k
        want = before
        if history == -1:
            want += growth * lag
        elif history >= 0:
            now, was = numbers[history], old[history]
            if isinstance(now, int) and isinstance(was, int):
                want += (now - was) * growth >> 6
        else:
            now, time, then = numbers[-2 - history], numbers[0], old[0]
            if isinstance(now, int) and isinstance(time, int) and isinstance(then, int):
                want += now * (time - then) // growth
    return max(low, min(high, want)), k


def _fields(
    trace: Trace,
    table: Table,
    places: range,
    marks: Values,
    values: Values,
    old: Values | None,
    lag: int,
    steady: bool,
    parameters: list[int] | None,
) -> None:
    """Append the values of the fields at these places to `values`."""
    for i, mark in zip(places, marks, strict=True):
        of = table[i]
        if mark != 0:
            values.append(mark)
            continue
        want, k = _expected(of, values, old, i, lag, steady)
        if parameters and of[6]:
            k = parameters[i]
        low, high = of[4:6]
        start = trace.at
        if k < 0:
            values.append(want)
            trace.say(start, "", of[0], f"as expected: {physical(of, want)}")
            continue
        rest, bits = trace.number(k, high - low)
        value = _unfold(rest, want, low, high)
        values.append(value)
        if of[6] is None:
            base = "" if low == 0 else f"{low} + {rest} = "
        else:
            base = f"expected {want}, d = {rest}" + (f" ({value - want:+})" if rest else "") + ": "
        shown = physical(of, value)
        trace.say(start, bits, of[0], base + (shown if f"{shown} ".startswith(f"{value} ") else f"{value}, {shown}"))


def message(kind: int, body: bytes, old: Values | None = None, lag: int = 0) -> tuple[Trace, Values]:
    """The trace of a body, and its values."""
    table = schema.fields(kind)
    base = schema.base(table)
    trace = Trace(body)
    names = [of[0] for of in table]
    usual: Values = [0 if not old or isinstance(old[i], int) else old[i] for i in range(len(table))]
    values: Values = []
    for places in (range(base), *(range(i, i + 1) for i in range(base, len(table)))):
        cut = slice(places.start, places.stop)
        marks = trace.marks(usual[cut], names[cut])
        steady = False
        if old:
            start = trace.at
            bit = trace.take(1)
            steady = bit == "0"
            said = "all steady fields are as expected" if steady else "some steady field is not as expected"
            trace.say(start, bit, "steady", said)
        _fields(trace, table, places, marks, values, old, lag, steady, None)
        trace.end()
    return trace, values


def batch(body: bytes, seq: int) -> tuple[Trace, list[tuple[int, Values]]]:
    """The trace of a batch, and its reports."""
    table = schema.fields(schema.REPORT)
    names = [of[0] for of in table]
    trace = Trace(body)
    bits = trace.take(8)
    count = int(bits, 2)
    trace.say(0, bits, "count", f"{count} reports")
    gaps = trace.take(1)
    trace.say(
        8, gaps, "gaps", "seq do not just follow each other" if gaps == "1" else "each seq follows the one before"
    )
    varied = trace.take(1)
    trace.say(9, varied, "varied", "marks change" if varied == "1" else "all marks are those of the first report")
    marks = trace.marks([0] * len(table), names)
    everything = range(len(table))
    values: Values = []
    _fields(trace, table, everything, marks, values, None, 0, False, None)
    reports = [(seq, values)]
    parameters: list[int] = []
    for of in table if count > 1 else ():
        start = trace.at
        away, bits = trace.number(0, 31)
        rule = of[6]
        usual = max(-1, rule[0] if rule[4] == -1 else rule[4]) if rule else 31
        parameters.append(usual + (-(away + 1) // 2 if away % 2 else away // 2))
        trace.say(start, bits, f"k of {of[0]}", f"usual {usual}: {parameters[-1]}")
    for _ in range(1, count):
        lag = 1
        if gaps == "1":
            start = trace.at
            lag, bits = trace.number(0, 255)
            lag += 1
            trace.say(start, bits, "seq", f"{lag} on")
        seq += lag
        if varied == "1":
            marks = trace.marks(marks, names)
        new: Values = []
        _fields(trace, table, everything, marks, new, values, lag, False, parameters)
        values = new
        reports.append((seq, values))
    trace.end()
    return trace, reports
