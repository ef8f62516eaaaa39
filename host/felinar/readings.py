"""From the wire's integer steps to physical values, as the schema says."""

from __future__ import annotations

from typing import cast

from felinar_wire import scale, schema

from felinar.api import NodeEvent, Reading, Value
from felinar.bodies import unpack
from felinar.clock import iso
from felinar.store import Row, TimeSource

FIELDS: tuple[str, ...] = tuple(f[0] for f in schema.fields(schema.REPORT) if f[0] != "time")
UNITS: dict[str, str] = {f[0]: f[1] for f in schema.fields(schema.REPORT)}
_SOURCES = {TimeSource.NODE: "node", TimeSource.INFERRED: "inferred", TimeSource.ARRIVAL: "arrival"}
_EVENTS: dict[int, str] = {
    value: name.removeprefix("EVENT_").lower().replace("_", " ")
    for name, value in vars(schema).items()
    if name.startswith("EVENT_")
}


def physical(kind: int, steps: dict[str, object]) -> dict[str, Value]:
    """Values in the schema's units: numbers, None for missing, "under" and "over" for what was beyond the range."""
    values: dict[str, Value] = {}
    for name, _unit, numerator, denominator, *_ in schema.fields(kind):
        step = steps[name]
        if not isinstance(step, int):
            values[name] = cast("Value", step)
        elif numerator == 0:
            lux = scale.millilux(step) / 1000
            values[name] = round(lux, 3 if lux < 10 else 2 if lux < 100 else 1)
        elif denominator == 1:
            values[name] = step * numerator
        else:
            values[name] = round(step * numerator / denominator, len(str(denominator)) - 1)
    return values


def reading(row: Row, board: str, name: str | None = None) -> Reading:
    """A stored report as the interface shows it."""
    steps = unpack(row.schema, schema.REPORT, row.body)
    values = None
    if steps is not None:
        values = {key: value for key, value in physical(schema.REPORT, steps).items() if key != "time"}
    return Reading(
        node=row.node, board=board, boot=row.boot, seq=row.seq, time=iso(row.time),
        time_source=_SOURCES[row.source], heard=iso(row.heard), values=values, name=name,  # type: ignore[arg-type]
    )  # fmt: skip


def event(row: Row, board: str) -> NodeEvent:
    """A stored event as the interface shows it."""
    steps = unpack(row.schema, schema.EVENT, row.body)
    code, argument = (steps["code"], steps["arg"]) if steps else (None, None)
    return NodeEvent(
        node=row.node, board=board, boot=row.boot, seq=row.seq, time=iso(row.time),
        code=code if isinstance(code, int) else None,
        event=_EVENTS.get(code, f"code {code}") if isinstance(code, int) else "unreadable",
        argument=argument if isinstance(argument, int) else None,
    )  # fmt: skip


def number(values: dict[str, Value] | None, name: str) -> float | None:
    """A value when it is a number, else None."""
    value = values.get(name) if values else None
    return value if isinstance(value, int | float) else None
