"""Spans and moments as people write them on a command line: `30m`, `1h30m`, `2026-11-24T18:00`."""

from __future__ import annotations

import re
from datetime import datetime

from felinar.errors import ConfigError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def seconds(text: str) -> int:
    """Seconds of `90s`, `30m`, `2h`, `1d`, `1h30m`; raises ConfigError for anything else."""
    text = text.strip().lower()
    if not _SPAN.fullmatch(text):
        raise ConfigError(f"'{text}' is not a duration.", "Write for example 90s, 30m, 2h, 1d or 1h30m.")
    return round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def moment(text: str, now: float) -> int:
    """Unix time of `2h` (two hours ago), `now` or an ISO date or time (local unless it names its zone)."""
    text = text.strip()
    if text.lower() == "now":
        return int(now)
    if _SPAN.fullmatch(text.lower()):
        return int(now) - seconds(text)
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"'{text}' is not a time.", "Write for example 2h (two hours ago), 2026-11-24 or 2026-11-24T18:00Z."
        ) from None


def ago(span: float) -> str:
    """How long ago, in at most four characters and a unit: `3 s`, `12 min`, `5 h`, `9 d`."""
    span = max(0.0, span)
    for limit, size, unit in ((100, 1, "s"), (6000, 60, "min"), (172800, 3600, "h")):
        if span < limit:
            return f"{int(span / size)} {unit}"
    return f"{int(span / 86400)} d"
