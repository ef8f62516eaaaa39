"""The part of the page that comes from the tables: every message, its fields, and an example taken apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from felinar_wire import batch, codec, core, frame, schema

from felinar_docs import DocsError, prose, trace
from felinar_docs.prose import Message
from felinar_docs.trace import Trace, physical

if TYPE_CHECKING:
    from felinar_wire.schema import Field, Table, Values

_NO_FIELDS = ("", "marks", "steady", "count", "gaps", "varied", "seq")
CLASSES = ("from a node", "to or from one node", "from one to many", "joining, greeting, updates")


def row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def head(*cells: str) -> list[str]:
    return [row(*cells), "|" + "---|" * len(cells)]


def kinds() -> dict[str, int]:
    """Every message by name, in the order of its number."""
    known = {*schema.TABLE, *core.LAYOUT, schema.BATCH}
    found = {
        name: value
        for module in (schema, core)
        for name, value in vars(module).items()
        if type(value) is int and value in known and name in {*prose.MESSAGES, "BATCH"}
    }
    missing = known - set(found.values())
    if missing:
        raise DocsError(f"prose.py has no message for kind {min(missing):#04x}.")
    gone = set(prose.MESSAGES) - set(found)
    if gone:
        raise DocsError(f"prose.py speaks of {min(gone)}, which is no message any more.")
    return dict(sorted(found.items(), key=lambda item: item[1]))


def check(what: str, fields: Iterable[str], about: Message) -> None:
    """Whether the prose of a message speaks of exactly its fields."""
    names = list(fields)
    for name in names:
        if name not in about.fields:
            raise DocsError(f"prose.py says nothing of field {name} of {what}.")
    for name in about.fields:
        if name not in names:
            raise DocsError(f"prose.py speaks of field {name} of {what}, which is gone.")


def overview() -> Iterator[str]:
    """The list of all messages."""
    yield from head("kind", "message", "class", "direction", "bytes are", "CRC")
    for name, kind in kinds().items():
        about = prose.MESSAGES.get(name, prose.MESSAGES["REPORT"])
        frozen = kind in core.LAYOUT
        yield row(
            f"{kind} (0x{kind:02x})",
            f"[{name}](#{name.lower()})",
            f"{kind >> 4}: {CLASSES[kind >> 4]}",
            about.direction,
            "whole bytes" if frozen else "bits",
            1 if frozen else f"{schema.crc(kind)} (0x{schema.crc(kind):04x})",
        )


def hashed(kind: int) -> str:
    """The text whose CRC-32 a message's CRC is taken from."""
    table = schema.fields(schema.REPORT) if kind == schema.BATCH else schema.fields(kind)
    return repr((kind, table if kind == schema.BATCH else table[: schema.base(table)]))


def _times(name: str, slope: int) -> str:
    return name if slope == 64 else f"({name} * {slope} >> 6)"


def rule_words(of: Field, table: Table) -> tuple[str, str]:
    """(without history, with history) of a field in words."""
    rule = of[6]
    if not rule:
        return "plain", "plain"
    k, constant, source, slope, history_k, history, growth = rule
    without = str(constant)
    if source >= 0:
        without = (without + " + " if constant else "") + _times(table[source][0], slope)
    without = ("plain" if k == 31 else f"k {k}") + f": {without}"
    if history_k == -1:
        return without, "the same"
    after = f"k {history_k}" if history_k >= 0 else f"steady, k {-2 - history_k}"
    if history >= 0:
        return without, f"{after}: old + {_times('Δ' + table[history][0], growth)}"
    if history < -1:
        return without, f"{after}: old + {table[-2 - history][0]} * Δ{table[0][0]} // {growth}"
    return without, f"{after}: old" + (f" + {growth} * lag" if growth else "")


def _range(of: Field) -> str:
    if of[2] and of[3] == 1:
        return ""
    unit = " " + of[1] if of[1] else ""
    low, high = (physical(of, step).removesuffix(unit) for step in of[4:6])
    return f"{low} to {high}{unit}"


def _step(of: Field) -> str:
    if not of[2]:
        return f"1 % of {of[1]}"
    return f"{trace.fraction(of[2], of[3])} {of[1]}".strip()


def _fields(kind: int, about: Message) -> Iterator[str]:
    table = schema.fields(kind)
    rules = any(of[6] for of in table)
    since = schema.base(table) < len(table)
    titles = ["no.", "field", "step", "steps", "range", *(("without history", "with history") if rules else ("bits",))]
    yield from head(*titles, *(("since version",) if since else ()), "meaning")
    for i, of in enumerate(table):
        coded = rule_words(of, table) if rules else ((of[5] - of[4]).bit_length(),)
        version = (cast("tuple[object, ...]", of)[7] if len(of) > 7 else "",) if since else ()
        steps = f"{of[4]} to {of[5]}"
        yield row(i, f"`{of[0]}`", _step(of), steps, _range(of), *coded, *version, about.fields[of[0]])


def example(title: str, read: Trace) -> Iterator[str]:
    """An example taken apart."""
    yield f"{title}: {len(read.body)} bytes, `{read.body.hex()}`"
    yield ""
    yield from head("bit", "bits", "field", "")
    for at, bits, what, meaning in read.rows:
        yield row(at, f"`{bits}`" if bits else "", what if what in _NO_FIELDS or " " in what else f"`{what}`", meaning)
    yield ""


def _whole(name: str, kind: int, values: Values) -> tuple[Trace, bytes]:
    body = codec.encode(kind, values)
    read, found = trace.message(kind, body)
    if found != values or codec.decode(kind, body) != values:
        raise DocsError(f"The example of {name} is not read as {values}.")
    return read, body


def reports() -> Iterator[str]:
    """The examples of REPORT and BATCH: a difference, one with marks, and a batch."""
    first = values_of("REPORT")
    second = list(first)
    for at, step in (("time", 300), ("up", 300), ("lux", -7), ("pm25", 2), ("temp", -1), ("leq", 12), ("energy", 2)):
        second[schema.index(schema.REPORT, at)] += step  # type: ignore[operator]
    third: Values = list(second)
    third[schema.index(schema.REPORT, "co2")] = None
    third[schema.index(schema.REPORT, "lux")] = schema.OVER
    for at, step in (("time", 600), ("up", 600), ("relay", -1), ("dim", -60), ("power", -241), ("energy", 4)):
        third[schema.index(schema.REPORT, at)] += step  # type: ignore[operator]
    for title, new, old, lag in (
        ("The next report, a difference from the one above, lag 1", second, first, 1),
        ("Two reports on, a difference from that one, lag 2", third, second, 2),
    ):
        body = codec.encode(schema.REPORT, new, old, lag)
        read, found = trace.message(schema.REPORT, body, old, lag)
        if found != new or codec.decode(schema.REPORT, body, old, lag) != new:
            raise DocsError("An example of a difference is not read as it was written.")
        yield f"{title}."
        yield ""
        yield f"Values: `{_listed(new)}`"
        yield ""
        yield from example("Body", read)


def batches() -> Iterator[str]:
    first = values_of("REPORT")
    rows = [(7, first)]
    for seq, steps in ((8, 1), (10, 3)):
        values = list(first)
        for at, step in (("time", 300), ("up", 300), ("pm25", 2), ("temp", -1), ("leq", 5), ("energy", 2)):
            values[schema.index(schema.REPORT, at)] += step * steps  # type: ignore[operator]
        rows.append((seq, values))
    body = batch.encode(rows)
    read, found = trace.batch(body, 7)
    if found != rows:
        raise DocsError("The example of BATCH is not read as it was written.")
    yield "Three reports, seq 7, 8 and 10, the first with the values of the example of REPORT:"
    yield ""
    for seq, values in rows:
        yield f"- {seq}: `{_listed(values)}`"
    yield ""
    yield from example("Body", read)


def _listed(values: Values) -> str:
    return ", ".join(
        "null" if value is None else f'"{value}"' if isinstance(value, str) else str(value) for value in values
    )


def values_of(name: str) -> Values:
    """The values of a message's example."""
    values = list(prose.EXAMPLES.get(name, ()))
    table = schema.fields(kinds()[name])
    if len(values) != len(table):
        raise DocsError(
            f"The example of {name} in prose.py has {len(values)} values, and there are {len(table)} fields."
        )
    return cast("Values", values)


def _protection(about: Message, kind: int) -> str:
    return about.protection.format(tag=frame.tag_length(kind))


def _packed(name: str, kind: int) -> Iterator[str]:
    if kind == schema.BATCH:
        yield "Several reports at once, see [batches](#batches)."
        yield ""
        yield f"{prose.UP}. {_protection(prose.MESSAGES['REPORT'], kind).capitalize()}. CRC {schema.crc(kind)} (0x{schema.crc(kind):04x}), of"
        yield ""
        yield f"    {hashed(kind)}"
        yield ""
        yield from batches()
        return
    about = prose.MESSAGES[name]
    check(name, (of[0] for of in schema.fields(kind)), about)
    yield about.about
    yield ""
    yield f"{about.direction}. {_protection(about, kind).capitalize()}. CRC {schema.crc(kind)} (0x{schema.crc(kind):04x}), of"
    yield ""
    yield f"    {hashed(kind)}"
    yield ""
    if schema.base(schema.fields(kind)) < len(schema.fields(kind)):
        yield "With the appended fields:"
        yield ""
        yield f"    {(kind, schema.fields(kind))!r}"
        yield ""
    yield from _fields(kind, about)
    yield ""
    values = values_of(name)
    read, _ = _whole(name, kind, values)
    yield f"Example, whole. Values: `{_listed(values)}`"
    yield ""
    yield from example("Body", read)
    if kind == schema.REPORT:
        yield from reports()


def _layout(key: str | int, layout: str, about: Message) -> Iterator[str]:
    fields = core.fields(layout)
    check(key if isinstance(key, str) else f"serial type {key}", (name for name, _ in fields), about)
    yield f"Layout: `{layout}`"
    yield ""
    yield from head("from byte", "field", "code", "meaning")
    at = 0
    for name, code in fields:
        yield row(at, f"`{name}`", f"`{code}`", about.fields[name])
        at += core.size(code)
    yield ""
    values = list(prose.EXAMPLES.get(key, ()))
    data = core.encode(layout, cast("list[int | bytes]", values))
    pieces = []
    at = 0
    for (_, code), value in zip(fields, values, strict=True):
        size = len(value) if isinstance(value, bytes) else core.size(code)
        pieces.append(data[at : at + size].hex())
        at += size
    shown = ", ".join(value.hex() if isinstance(value, bytes) else str(value) for value in values)
    yield f"Example: `{shown}` is `{' '.join(pieces)}`"
    yield ""


def messages() -> Iterator[str]:
    """Every message of a node."""
    for name, kind in kinds().items():
        yield f"### {name}"
        yield ""
        yield f"Kind {kind} (0x{kind:02x}); the first byte of its frame is 0x{kind:02x} in clear, 0x{64 | kind:02x} sealed."
        if kind in core.LAYOUT:
            about = prose.MESSAGES[name]
            yield about.about.format()
            yield ""
            yield f"{about.direction}. {_protection(about, kind).capitalize()}. CRC 1."
            yield ""
            yield from _layout(name, core.LAYOUT[kind], about)
        else:
            yield from _packed(name, kind)


def bridge() -> Iterator[str]:
    """Every type of a serial frame."""
    for kind in {**core.BRIDGE, **prose.BRIDGE}:
        if kind not in prose.BRIDGE:
            raise DocsError(f"prose.py has nothing of serial type {kind}.")
        if kind not in core.BRIDGE:
            raise DocsError(f"prose.py speaks of serial type {kind}, which is gone.")
    names = {value: name for name, value in vars(core).items() if name.isupper() and type(value) is int and value < 16}
    for kind, layout in core.BRIDGE.items():
        about = prose.BRIDGE[kind]
        yield f"### {names[kind]}, type {kind}"
        yield ""
        yield f"{about.about} Direction: {about.direction}. Protection: {about.protection}."
        yield ""
        yield from _layout(kind, layout, about)
