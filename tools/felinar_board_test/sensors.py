"""What of a board's sensors can be tried, with the range of each field as a driver gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from felinar_wire import scale, schema

PATIENCE_S = 20
"""Seconds until a sensor must have had a value of each field, where it has no longer wait of its own."""
PAUSE_S = 2.0
"""Between two readings: no chip here needs longer; the slow ones are waited for in the reading."""
_LONGER = {"sgp41": 75, "sds011": 40, "scd41": 40}
_CHANGE: Mapping[str, Mapping[str, Any]] = {"sds011": {"period_min": 0}}
"""So that a measurement takes a second, not five minutes; the application sets its own again when it starts."""


def limits() -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each field of a report, in what drivers give: lux in millilux, else the field's unit."""
    found: dict[str, tuple[float, float]] = {}
    for name, _, numerator, denominator, low, high, *_ in schema.fields(schema.REPORT):
        if numerator:
            found[name] = (low * numerator / denominator, high * numerator / denominator)
        else:
            found[name] = (0, scale.millilux(high))
    return found


def order(board: Mapping[str, Any], pause_s: float = PAUSE_S) -> dict[str, Any]:
    """What the board is told: its own description, the entries to try, and the limits."""
    entries = [
        {
            "entry": {**entry, **_CHANGE.get(entry["driver"], {})},
            "patience_s": _LONGER.get(entry["driver"], PATIENCE_S),
        }
        for entry in board.get("fitted", ())
    ]
    return {"board": board, "entries": entries, "limits": limits(), "pause_ms": int(pause_s * 1000)}


def drivers(board: Mapping[str, Any]) -> list[str]:
    """The drivers of what is fitted, in the order of the board file."""
    return [str(entry["driver"]) for entry in board.get("fitted", ())]


def roots(board: Mapping[str, Any]) -> set[str]:
    """The modules that a try of the sensors loads."""
    found = {f"drivers.{driver}" for driver in drivers(board)} | {"node.board", "drivers", "felinar_wire.schema"}
    if any(str(entry.get("bus", "")).startswith("i2s") for entry in board.get("fitted", ())):
        found.add("node.sound")
    return found


def place(entry: Mapping[str, Any]) -> str:
    """Where a sensor hangs, for people."""
    address = entry.get("address")
    bus = str(entry.get("bus", "")) or (f"counter {entry['counter']}" if "counter" in entry else "its pins")
    return bus + (f", 0x{address:02x}" if isinstance(address, int) else "")
