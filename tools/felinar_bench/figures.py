"""A figure that a benchmark measured, and how it is printed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured number. `target` is the worst that is acceptable, None where there is none; `better` says which way."""

    figure: str
    value: float
    unit: str
    target: float | None = None
    better: str = "lower"
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met; True without a target."""
        if self.target is None:
            return True
        return self.value <= self.target if self.better == "lower" else self.value >= self.target

    def json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


def table(figures: Iterable[Figure]) -> str:
    """The figures as lines of text in columns."""
    rows = [("figure", "value", "unit", "target", "", "note")]
    for one in figures:
        limit = "" if one.target is None else f"{'≤' if one.better == 'lower' else '≥'} {one.target:g}"
        met = "" if one.target is None else "met" if one.met else "MISSED"
        rows.append((one.figure, f"{one.value:,.2f}".removesuffix(".00"), one.unit, limit, met, one.note))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = []
    for row in rows:
        cells = [row[i].rjust(widths[i]) if i == 1 else row[i].ljust(widths[i]) for i in range(5)]
        lines.append("  ".join([*cells, row[5]]).rstrip())
    return "\n".join(lines)
