"""From the wire's integer steps to physical values, as the table says that the body was made with."""

from __future__ import annotations

from functools import cache
from typing import cast

from felinar_wire import scale, schema

from felinar.api import NodeEvent, Reading, Value
from felinar.bodies import times, unpack
from felinar.clock import iso
from felinar.store import Row, TimeSource
from felinar.tables import RELEASED, History


def _fields(history: History = RELEASED) -> dict[str, str]:
    """Units by name of every field that a report has, or had in an older version."""
    newest = {field[0]: field[1] for field in history.latest[schema.REPORT]}
    tables = [tables[schema.REPORT] for version in range(1, history.newest) if (tables := history.of(version))]
    return newest | {field[0]: field[1] for table in tables for field in table if field[0] not in newest}


UNITS: dict[str, str] = _fields()
DOUBT: dict[str, int] = {
    field: 1 << bit
    for bit, fields in (
        (schema.DOUBT_LIGHT, ("lux",)),
        (schema.DOUBT_PARTICLES, ("pm1", "pm25", "pm10")),
        (schema.DOUBT_CO2, ("co2",)),
        (schema.DOUBT_GAS, ("voc", "nox")),
        (schema.DOUBT_CLIMATE, ("temp", "rh")),
        (schema.DOUBT_PRESSURE, ("p",)),
        (schema.DOUBT_SOUND, ("leq", "lmax", "l10", "l50", "l90")),
        (schema.DOUBT_POWER, ("power", "energy", "mv")),
    )
    for field in fields
}
"""The bit of a report's `doubt` that says: this value is there, but not to be trusted (fog, a stuck sensor, too few readings)."""
FIELDS: tuple[str, ...] = tuple(name for name in UNITS if name != "time")
_SOURCES = {TimeSource.NODE: "node", TimeSource.INFERRED: "inferred", TimeSource.ARRIVAL: "arrival"}
_EVENTS: dict[int, str] = {
    value: name.removeprefix("EVENT_").lower().replace("_", " ")
    for name, value in vars(schema).items()
    if name.startswith("EVENT_")
}


@cache
def _decimals(denominator: int) -> int:
    """The decimals that show one step of a resolution exactly, or six."""
    return next((n for n in range(1, 6) if 10**n % denominator == 0), 6)


def physical(kind: int, steps: dict[str, object], table: schema.Table | None = None) -> dict[str, Value]:
    """Values in the schema's units: numbers, None for missing, "under" and "over" for what was beyond the range.

    `steps` are by name, those of `table`, or of this host's own.
    """
    values: dict[str, Value] = {}
    for name, _unit, numerator, denominator, *_ in table or schema.fields(kind):
        step = steps[name]
        if not isinstance(step, int):
            values[name] = cast("Value", step)
        elif numerator == 0:
            lux = scale.millilux(step) / 1000
            values[name] = round(lux, 3 if lux < 10 else 2 if lux < 100 else 1)
        elif denominator == 1:
            values[name] = step * numerator
        else:
            values[name] = round(step * numerator / denominator, _decimals(denominator))
    return values


def report(row: Row, history: History = RELEASED) -> dict[str, Value] | None:
    """The values of a stored report without its time; None when it can't be read.

    All fields of all versions are there; those that the report's own version lacks are None, and so is one that had
    another unit then.
    """
    opened = history.open(row.schema, schema.REPORT, row.body)
    if opened is None:
        return None
    table, values = opened
    units = UNITS if history is RELEASED else _fields(history)
    names = [field[0] for field in table]
    found = physical(schema.REPORT, dict(zip(names, values, strict=True)), table)
    same = {field[0] for field in table if units.get(field[0]) == field[1]}
    return {name: found[name] if name in same else None for name in units if name != "time"}


def _when(row: Row, kind: int, history: History) -> tuple[int, TimeSource]:
    """When a message was made: as stored, or by its own account if it came before this host could read it."""
    if row.source is TimeSource.ARRIVAL:
        told = times(row.schema, kind, row.body, history)
        if told and told[0] is not None and told[0] <= row.heard:
            return told[0], TimeSource.NODE
    return row.time, row.source


def reading(row: Row, board: str, name: str | None = None, history: History = RELEASED) -> Reading:
    """A stored report as the interface shows it."""
    time, source = _when(row, schema.REPORT, history)
    return Reading(
        node=row.node, board=board, boot=row.boot, seq=row.seq, time=iso(time),
        time_source=_SOURCES[source], heard=iso(row.heard), values=report(row, history), name=name,  # type: ignore[arg-type]
    )  # fmt: skip


def event(row: Row, board: str, history: History = RELEASED) -> NodeEvent:
    """A stored event as the interface shows it."""
    steps = unpack(row.schema, schema.EVENT, row.body, history)
    code, argument = (steps["code"], steps["arg"]) if steps else (None, None)
    return NodeEvent(
        node=row.node, board=board, boot=row.boot, seq=row.seq, time=iso(_when(row, schema.EVENT, history)[0]),
        code=code if isinstance(code, int) else None,
        event=_EVENTS.get(code, f"code {code}") if isinstance(code, int) else "unreadable",
        argument=argument if isinstance(argument, int) else None,
    )  # fmt: skip


def number(values: dict[str, Value] | None, name: str) -> float | None:
    """A value when it is a number, else None."""
    value = values.get(name) if values else None
    return value if isinstance(value, int | float) else None
