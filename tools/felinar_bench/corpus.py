"""The corpus that codecs are compared on: 8 nodes, 2 days each, a report in 5 minutes, at reporting resolution."""

from __future__ import annotations

import csv
from pathlib import Path

from felinar_wire import schema

FILE = Path(__file__).parent / "data" / "reports_r.csv"
Report = list[int | str | None]


def nodes() -> list[list[Report]]:
    """The reports of each node in rising time, as values in field order; seq is the place in the list."""
    names = [field[0] for field in schema.fields(schema.REPORT)]
    found: dict[str, list[Report]] = {}
    with FILE.open(newline="") as file:
        for row in csv.DictReader(file):
            row["time"] = str(int(row["t"]) - schema.EPOCH_UNIX)
            found.setdefault(row["node"], []).append([int(row.get(name, 0)) for name in names])
    return list(found.values())
